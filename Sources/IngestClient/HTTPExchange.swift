// Sends one payload in one request, and returns its answer or the reason why there is none, always within the deadline.
// All HTTP code of the client is here.

internal import AsyncHTTPClient
private import struct Foundation.Date
internal import NIOCore
internal import NIOHTTP1

struct HTTPExchange: Sendable {
  private let client: HTTPClient
  private let endpoint: String
  private let key: PushKey
  private let timeout: Duration
  private let time: Timekeeper

  /// Maximum bytes of an answer's body to keep.
  private static let longestWords = 4096
  /// A longer answer is not read to its end, and its connection is not used again.
  private static let longestBody = 64 << 10

  init(_ configuration: IngestClient.Configuration, time: Timekeeper) {
    client = HTTPClient(eventLoopGroupProvider: .singleton, configuration: Self.http(configuration))
    endpoint = configuration.endpoint
    key = configuration.key
    timeout = configuration.requestTimeout
    self.time = time
  }

  private static func http(_ configuration: IngestClient.Configuration) -> HTTPClient.Configuration {
    var http = configuration.http
    // A redirect would send payload and key to another server.
    http.redirectConfiguration = .disallow
    // Retries by the HTTP client would hide from the outbox that the server is down.
    http.connectionPool.retryConnectionEstablishment = false
    http.connectionPool.concurrentHTTP1ConnectionsPerHostSoftLimit = configuration.concurrency
    let timeout = TimeAmount(configuration.requestTimeout)
    http.timeout.connect = min(http.timeout.connect ?? .seconds(10), timeout)
    return http
  }

  func shutdown() async throws { try await client.shutdown() }

  /// Sends the payload. When the task is cancelled, the request is cancelled too, and its outcome is unknown.
  func send(_ payload: IngestClient.Payload) async -> AttemptResult {
    // A separate deadline for the whole exchange: the HTTP client's deadline covers only the time up to the answer's
    // head.
    let deadline = time.now() + timeout
    return await withTaskGroup(of: AttemptResult?.self) { group in
      group.addTask { await attempt(payload) }
      group.addTask {
        do {
          try await time.sleep(deadline)
          return .failed(.timedOut, retryAfter: nil)
        } catch {
          // The other task was first, or the caller was cancelled. The other task reports both.
          return nil
        }
      }
      var result: AttemptResult?
      for await ended in group {
        group.cancelAll()
        // The first task that completes ends both. An answer that arrives at the last moment counts.
        switch (result, ended) {
        case (nil, let ended): result = ended
        case (.failed(.timedOut, _), .some(let ended)) where !ended.isDisconnection: result = ended
        default: break
        }
      }
      return result ?? .failed(.disconnected("cancelled"), retryAfter: nil)
    }
  }

  private func attempt(_ payload: IngestClient.Payload) async -> AttemptResult {
    var request = HTTPClientRequest(url: endpoint)
    request.method = .POST
    request.headers.add(name: "authorization", value: "Bearer \(key.text)")
    request.headers.add(name: "idempotency-key", value: payload.idempotencyKey)
    request.headers.add(name: "user-agent", value: "sluice-ingest-client")
    if let type = payload.contentType { request.headers.add(name: "content-type", value: type) }
    if let encoding = payload.contentEncoding { request.headers.add(name: "content-encoding", value: encoding) }
    if let traceparent = payload.traceparent { request.headers.add(name: "traceparent", value: traceparent) }
    request.body = .bytes(payload.body)
    do {
      let response = try await client.execute(request, deadline: .now() + TimeAmount(timeout))
      let answer = IngestClient.Answer(status: Int(response.status.code), words: await words(of: response))
      return AttemptResult(answer, retryAfter: Self.retryAfter(response.headers))
    } catch let error as HTTPClientError {
      let timeouts: [HTTPClientError] = [.deadlineExceeded, .readTimeout, .writeTimeout]
      if timeouts.contains(error) { return .failed(.timedOut, retryAfter: nil) }
      // The short description contains no values of headers. One of them is the key.
      return .failed(.disconnected(error.shortDescription), retryAfter: nil)
    } catch {
      return .failed(.disconnected("\(error)"), retryAfter: nil)
    }
  }

  /// The status decides: a body that breaks off or never arrives must not turn an acknowledgement into a failure.
  private func words(of response: HTTPClientResponse) async -> String {
    var words = ByteBuffer()
    var count = 0
    do {
      for try await part in response.body {
        count += part.readableBytes
        var part = part
        let room = Self.longestWords - words.readableBytes
        if room > 0, var kept = part.readSlice(length: min(room, part.readableBytes)) { words.writeBuffer(&kept) }
        if count > Self.longestBody { break }
      }
    } catch {
      // The part that arrived is kept. The connection is gone, which the next request will notice.
    }
    return String(decoding: words.readableBytesView, as: UTF8.self)
  }

  private static func retryAfter(_ headers: HTTPHeaders) -> Duration? {
    guard let value = headers.first(name: "retry-after") else { return nil }
    let now = Int64(Date().timeIntervalSince1970)
    return RetryAfter.wait(value, date: headers.first(name: "date"), now: now)
  }
}

extension AttemptResult {
  fileprivate var isDisconnection: Bool {
    if case .failed(let failure, _) = self { failure.code == .disconnected } else { false }
  }
}
