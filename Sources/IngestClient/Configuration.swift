// Every number that a client can be given, with its unit, its default and its bounds. All are checked once, when the client
// is made: a setting that would lose payloads or spin must not show only in an outage.

public import AsyncHTTPClient
private import struct Foundation.URL

extension IngestClient {
  /// How a client is set up.
  public struct Configuration: Sendable {
    /// Where payloads are posted: `https://push.example.com/v1/events`.
    public var endpoint: String
    /// Sent as `Authorization: Bearer`.
    public var key: PushKey
    /// TLS, proxy and DNS. Redirects are never followed and connections not retried below the client, because it decides
    /// on both; the limit of connections is ``concurrency``.
    public var http = HTTPClient.Configuration()
    /// How much may wait.
    public var buffer = Buffer()
    /// The most requests in flight at once.
    public var concurrency = 8
    /// How long one request may take, from asking for a connection to the last byte of the answer.
    public var requestTimeout: Duration = .seconds(30)
    /// How long a payload may wait to be delivered. The time in which the client is paused doesn't count.
    public var payloadLifetime: Duration = .seconds(3600)
    /// How attempts are spread out after failures.
    public var retries = Retries()
    /// What 401 and 403 do.
    public var refusals = Refusals()
    /// How long a graceful shutdown may go on delivering.
    public var drainDeadline: Duration = .seconds(30)

    /// A client with all defaults. Everything is checked when the client is made.
    /// - Parameters:
    ///   - endpoint: Where payloads are posted: `https://push.example.com/v1/events`.
    ///   - key: The API key.
    public init(endpoint: String, key: PushKey) {
      self.endpoint = endpoint
      self.key = key
    }

    /// How much may wait, what is in flight included. What doesn't fit is refused, see ``Rejection/bufferFull``.
    public struct Buffer: Sendable {
      /// The most payloads.
      public var payloads = 10_000
      /// The most bytes of bodies.
      public var bytes = 64 << 20

      /// All defaults.
      public init() {}
    }

    /// How attempts are spread out: each wait is drawn evenly from zero to a bound that doubles with each failure
    /// (exponential backoff with full jitter), on top of what Retry-After asks for.
    public struct Retries: Sendable {
      /// The bound after the first failure.
      public var first: Duration = .milliseconds(200)
      /// What the bound doesn't grow beyond.
      public var longest: Duration = .seconds(30)
      /// The most that is believed of a Retry-After.
      public var longestRetryAfter: Duration = .seconds(300)

      /// All defaults.
      public init() {}
    }

    /// What 401 and 403 do.
    public struct Refusals: Sendable {
      /// How long every answer must have been a refusal before the client disengages.
      public var patience: Duration = .seconds(300)
      /// After a refusal the key is asked about again after about this long, then after twice that, and so on.
      public var firstAsk: Duration = .seconds(1)
      /// What the interval doesn't grow beyond while the client is paused.
      public var longestAsk: Duration = .seconds(60)
      /// How often a disengaged client asks, give or take a tenth.
      public var rareAsk: Duration = .seconds(600)

      /// All defaults.
      public init() {}
    }

    func check() throws(InvalidConfiguration) {
      guard let url = URL(string: endpoint), let scheme = url.scheme?.lowercased(), ["http", "https"].contains(scheme),
        let host = url.host, !host.isEmpty, url.fragment == nil
      else {
        // What may hold a secret in the wrong place isn't shown.
        let shown = endpoint.contains { "@?".contains($0) } ? "one with @ or ? that isn't" : "\"\(endpoint)\""
        throw InvalidConfiguration("expected an endpoint like https://host/v1/events, not \(shown)")
      }
      guard url.user == nil, url.password == nil, url.query == nil else {
        throw InvalidConfiguration(
          "expected the key apart from the endpoint, but there is something before an @ or after a ?")
      }
      try Self.check("buffer.payloads", buffer.payloads, in: 1...10_000_000)
      try Self.check("buffer.bytes", buffer.bytes, in: 1...Int.max)
      try Self.check("concurrency", concurrency, in: 1...1_000)
      let times: [(String, Duration, ClosedRange<Duration>)] = [
        ("requestTimeout", requestTimeout, .milliseconds(1) ... .seconds(3600)),
        ("payloadLifetime", payloadLifetime, .milliseconds(1) ... .seconds(30 * 86_400)),
        ("drainDeadline", drainDeadline, .zero ... .seconds(3600)),
        ("retries.first", retries.first, .milliseconds(1) ... .seconds(3600)),
        ("retries.longest", retries.longest, retries.first...max(retries.first, .seconds(3600))),
        ("retries.longestRetryAfter", retries.longestRetryAfter, .zero ... .seconds(86_400)),
        ("refusals.patience", refusals.patience, .zero ... .seconds(30 * 86_400)),
        ("refusals.firstAsk", refusals.firstAsk, .milliseconds(1) ... .seconds(3600)),
        ("refusals.longestAsk", refusals.longestAsk, refusals.firstAsk...max(refusals.firstAsk, .seconds(3600))),
        ("refusals.rareAsk", refusals.rareAsk, .milliseconds(1) ... .seconds(30 * 86_400)),
      ]
      for (name, value, range) in times { try Self.check(name, value, in: range) }
    }

    private static func check<Value>(
      _ name: String, _ value: Value, in range: ClosedRange<Value>
    ) throws(InvalidConfiguration) {
      guard range.contains(value) else {
        throw InvalidConfiguration(
          "expected \(name) from \(range.lowerBound) to \(range.upperBound), not \(value)")
      }
    }
  }

  /// A setting that makes no sense.
  public struct InvalidConfiguration: Error, Equatable, CustomStringConvertible {
    /// What was expected, and what was found; never a key.
    public let description: String

    init(_ description: String) { self.description = description }
  }
}
