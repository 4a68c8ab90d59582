// One request and its answer, within a deadline and a limit on its bytes. Everything in the HTTP sink that depends on
// HTTP is here, except the meaning of a status (`HTTPAnswer`).

internal import AsyncHTTPClient
internal import Bytes
internal import Foundation
internal import IngestQueue
internal import NIOCore
internal import NIOHTTP1
internal import NIOPosix

struct HTTPExchange: Sendable {
  private let address: HTTPSinkAddress
  private let client: HTTPClient

  /// Bytes of an answer's body that are shown in reasons. The rest is read and ignored, so that the connection can be
  /// used again.
  private static let shownBytes = 200
  private static let readBytes = 64 << 10
  /// Maximum bytes of an answer, including its head. The rest of a longer answer isn't read.
  private static let answerBytes = 1 << 20

  /// - Parameter connections: Maximum connections.
  init(_ address: HTTPSinkAddress, connections: Int) {
    self.address = address
    var configuration = HTTPClient.Configuration()
    // A redirect would send payloads and the password to another server.
    configuration.redirectConfiguration = .disallow
    // The client's own retries would hide that the receiver is down.
    configuration.connectionPool.retryConnectionEstablishment = false
    configuration.connectionPool.concurrentHTTP1ConnectionsPerHostSoftLimit = connections
    configuration.timeout = .init(connect: TimeAmount(address.timeout), read: TimeAmount(address.timeout))
    // With HTTP/1.1 a connection has one answer at a time, so its size can be limited.
    configuration.httpVersion = .http1Only
    configuration.http1_1ConnectionDebugInitializer = { channel in
      channel.eventLoop.makeCompletedFuture {
        try channel.pipeline.syncOperations.addHandler(ResponseBound(limit: Self.answerBytes), position: .first)
      }
    }
    client = HTTPClient(eventLoopGroupProvider: .singleton, configuration: configuration)
  }

  func shutdown() async throws { try await client.shutdown() }

  // MARK: Requests

  /// A payload without changes.
  func request(_ delivery: Delivery) -> HTTPClientRequest {
    let header = delivery.header
    var request = request()
    request.headers.add(name: "idempotency-key", value: "\(header.id)")
    // Never the original Content-Encoding: the body was decoded, or never had that encoding.
    let fields = [
      ("content-type", header.contentType), ("traceparent", header.traceparent), ("sluice-account", header.account),
      ("sluice-key", String(header.key.prefix(16))), ("sluice-received-at", "\(header.receivedAt)"),
      ("sluice-path", header.path), ("sluice-node", header.node), ("sluice-content-encoding", header.contentEncoding),
    ]
    for (name, value) in fields {
      if let value { request.headers.add(name: name, value: Self.fieldValue(value)) }
    }
    request.body = .bytes(ByteBuffer(bytes: delivery.body.bytes))
    return request
  }

  /// A line for each payload.
  func request(lines deliveries: [Delivery]) -> HTTPClientRequest {
    var lines = ByteBuffer()
    for delivery in deliveries { PayloadLine(delivery).write(to: &lines) }
    var request = request()
    request.headers.add(name: "content-type", value: "application/x-ndjson")
    request.body = .bytes(lines)
    return request
  }

  private func request() -> HTTPClientRequest {
    var request = HTTPClientRequest(url: address.url)
    request.method = .POST
    request.headers.add(name: "user-agent", value: "sluice")
    if let authorization = address.authorization { request.headers.add(name: "authorization", value: authorization) }
    return request
  }

  /// Characters that a header can't hold are percent-encoded: an envelope may have been pushed by hand.
  private static func fieldValue(_ text: String) -> String {
    guard !text.utf8.allSatisfy({ 0x20...0x7E ~= $0 }) else { return text }
    return text.utf8.map { byte in
      0x20...0x7E ~= byte ? String(UnicodeScalar(byte)) : "%" + byte.hexDigits(uppercase: true)
    }.joined()
  }

  // MARK: Answers

  /// Nil when it was cancelled.
  func send(_ request: HTTPClientRequest) async -> HTTPAnswer? {
    // A separate deadline for the whole exchange: the HTTP client's deadline ends with the answer's head.
    let timeout = address.timeout
    return await withTaskGroup(of: HTTPAnswer?.self) { group in
      group.addTask { await self.exchange(request) }
      group.addTask {
        do { try await Task.sleep(for: timeout) } catch { return nil }
        return .unclear(reason: "the receiver didn't answer within \(timeout)", retryAfter: nil)
      }
      // The first task that completes ends both. An answer in the last moment counts.
      var answers: [HTTPAnswer] = []
      for await answer in group {
        group.cancelAll()
        if let answer { answers.append(answer) }
      }
      return answers.first { $0.isPlain } ?? (Task.isCancelled ? nil : answers.first)
    }
  }

  private func exchange(_ request: HTTPClientRequest) async -> HTTPAnswer? {
    do {
      let response = try await client.execute(request, deadline: .now() + TimeAmount(address.timeout))
      return HTTPAnswer(
        status: response.status.code, beginning: await beginning(of: response),
        retryAfter: Self.retryAfter(response.headers["retry-after"].first))
    } catch is CancellationError {
      return nil
    } catch let error where Self.isBeforeSending(error) {
      return .unsent(reason: "the receiver can't be reached: \(Self.words(for: error))")
    } catch {
      return .unclear(reason: "the receiver didn't answer: \(Self.words(for: error))", retryAfter: nil)
    }
  }

  private static func words(for error: any Error) -> String {
    switch error {
    case let error as IOError: String(cString: strerror(error.errnoCode))
    case let error as NIOConnectionError:
      if let failure = error.connectionErrors.first {
        words(for: failure.error)
      } else if let failure = error.dnsAError ?? error.dnsAAAAError {
        "no address was found for \(error.host) (\(failure))"
      } else {
        "\(error)"
      }
    // The short description has no values of headers, which may be passwords.
    case let error as HTTPClientError: error.shortDescription
    default: "\(error)"
    }
  }

  /// Whether there was no connection yet, so that the payload can't be the reason.
  private static func isBeforeSending(_ error: any Error) -> Bool {
    switch error {
    case is NIOConnectionError: true
    case let error as HTTPClientError: error == .connectTimeout || error == .tlsHandshakeTimeout
    case let error as IOError:
      [
        ECONNREFUSED, EHOSTUNREACH, ENETUNREACH, ENETDOWN, EADDRNOTAVAIL, EMFILE, ENFILE, ENOBUFS, ENOMEM,
      ].contains(error.errnoCode)
    default: false
    }
  }

  /// The status decides: an incomplete body must not turn "accepted" into a failure.
  private func beginning(of response: HTTPClientResponse) async -> String {
    var beginning = ByteBuffer()
    var read = 0
    do {
      for try await part in response.body {
        read += part.readableBytes
        var part = part
        let wanted = min(Self.shownBytes - beginning.readableBytes, part.readableBytes)
        if var slice = part.readSlice(length: wanted) { beginning.writeBuffer(&slice) }
        if read > Self.readBytes { break }
      }
    } catch {
      // The part that arrived is shown. The next request will notice that the connection is closed.
    }
    return String(buffer: beginning).split(whereSeparator: \.isNewline).joined(separator: " ")
  }

  /// Parses a number of seconds or a date.
  private static func retryAfter(_ text: String?) -> Duration? {
    guard let text else { return nil }
    if let seconds = Int64(text) { return seconds >= 0 ? .seconds(min(seconds, 86_400)) : nil }
    let format = DateFormatter()
    format.locale = Locale(identifier: "en_US_POSIX")
    format.timeZone = TimeZone(secondsFromGMT: 0)
    format.dateFormat = "EEE, dd MMM yyyy HH:mm:ss 'GMT'"
    return format.date(from: text).map { .seconds(min(max(0, Int64($0.timeIntervalSinceNow.rounded(.up))), 86_400)) }
  }
}
