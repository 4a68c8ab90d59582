// Every number in a client's configuration, with its unit, default and range. All are checked once, when the client is
// created: a setting that loses payloads or causes a busy loop must be noticed before an outage.

public import AsyncHTTPClient
private import struct Foundation.URL

extension IngestClient {
  /// The configuration of a client.
  public struct Configuration: Sendable {
    /// The URL for pushes: `https://push.example.com/v1/events`.
    public var endpoint: String
    /// Sent as `Authorization: Bearer`.
    public var key: PushKey
    /// TLS, proxy and DNS. Some of its settings are overridden, because ``IngestClient`` decides on them: redirects are
    /// never followed, connections aren't retried, and the maximum of connections is ``concurrency``.
    public var http = HTTPClient.Configuration()
    /// Limits of the buffer.
    public var buffer = Buffer()
    /// Maximum requests in flight.
    public var concurrency = 8
    /// Maximum time of one request, from asking for a connection to the last byte of the answer.
    public var requestTimeout: Duration = .seconds(30)
    /// Maximum time until a payload is delivered. The time in which the client is paused doesn't count.
    public var payloadLifetime: Duration = .seconds(3600)
    /// The waits between attempts.
    public var retries = Retries()
    /// The reaction to 401 and 403.
    public var refusals = Refusals()
    /// Maximum time for deliveries in a graceful shutdown.
    public var drainDeadline: Duration = .seconds(30)

    /// - Parameters:
    ///   - endpoint: The URL for pushes.
    ///   - key: The API key.
    public init(endpoint: String, key: PushKey) {
      self.endpoint = endpoint
      self.key = key
    }

    /// Limits of the payloads that wait or are in flight. A payload that doesn't fit is refused, see
    /// ``Rejection/Code/bufferFull``.
    public struct Buffer: Sendable {
      /// Maximum payloads.
      public var payloads = 10_000
      /// Maximum bytes of all bodies together.
      public var bytes = 64 << 20

      /// The defaults.
      public init() {}
    }

    /// The waits between attempts. Each is random between zero and a bound that doubles with each failure (exponential
    /// backoff with full jitter), in addition to Retry-After.
    public struct Retries: Sendable {
      /// The bound after the first failure.
      public var first: Duration = .milliseconds(200)
      /// Maximum of the bound.
      public var longest: Duration = .seconds(30)
      /// Maximum Retry-After that is obeyed.
      public var longestRetryAfter: Duration = .seconds(300)

      /// The defaults.
      public init() {}
    }

    /// How the client reacts to 401 and 403.
    public struct Refusals: Sendable {
      /// The client disengages if every answer for this time was a refusal.
      public var patience: Duration = .seconds(300)
      /// After a refusal the client tries the key again after about this time, then after twice this time, and so on.
      public var firstAsk: Duration = .seconds(1)
      /// Maximum interval while the client is paused.
      public var longestAsk: Duration = .seconds(60)
      /// The interval between a disengaged client's attempts, plus or minus a tenth.
      public var rareAsk: Duration = .seconds(600)

      /// The defaults.
      public init() {}
    }

    func check() throws(InvalidConfiguration) {
      guard let url = URL(string: endpoint), let scheme = url.scheme?.lowercased(), ["http", "https"].contains(scheme),
        let host = url.host, !host.isEmpty, url.fragment == nil
      else {
        // The endpoint isn't shown if it may contain a secret in the wrong place.
        let mayHoldKey = endpoint.contains { "@?".contains($0) }
        let shown = mayHoldKey ? "an address with @ or ? (not shown: it may contain a key)" : "\"\(endpoint)\""
        throw InvalidConfiguration("expected an endpoint like https://host/v1/events, got \(shown)")
      }
      guard url.user == nil, url.password == nil, url.query == nil else {
        throw InvalidConfiguration(
          "expected an endpoint without user, password or query (the key is passed as key), got an address with @ or ?")
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
          "expected \(name) from \(range.lowerBound) to \(range.upperBound), got \(value)")
      }
    }
  }

  /// An invalid setting.
  public struct InvalidConfiguration: Error, Equatable, CustomStringConvertible {
    public let description: String

    init(_ description: String) { self.description = description }
  }
}
