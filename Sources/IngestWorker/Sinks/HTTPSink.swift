// Payloads to an HTTP server. One request for each, its body and content type as they are, because most receivers know nothing else; or one
// request with a line of JSON for each, for those that want many at a time.
//
// A receiver that knows an Idempotency-Key again makes "at least once" into "once"; one that doesn't gets some payloads twice. What
// was accepted of a batch that then failed is remembered, so that the next try doesn't send it again.
//
// A 5xx may mean that the receiver is ill or that this payload makes it stumble. The second must end as a dead letter in time, and the first
// must not, however long it lasts. So it is counted against the payload only where the receiver has accepted others at the same time, or
// since it failed on this one last.

internal import AsyncHTTPClient
internal import Foundation
internal import IngestQueue
internal import NIOCore
internal import NIOHTTP1
internal import Synchronization

/// Forwards payloads to an HTTP server.
public final class HTTPSink: Sink {
  private let address: HTTPSinkAddress
  private let client: HTTPClient
  public let name: String

  private struct Memory {
    /// Accepted, in a batch that failed as a whole afterwards.
    var accepted: Set<EnvelopeID> = []
    /// How many have been accepted so far.
    var total = 0
    /// Of batches of which nothing was accepted: the total at that time, by the batch's first envelope.
    var stumbles: [EnvelopeID: Int] = [:]
  }

  private let memory = Mutex(Memory())
  /// What is remembered is forgotten beyond this: then a payload may be sent twice, or one try more isn't counted.
  private static let mostRemembered = 100_000
  /// Of an answer's body: shown in reasons, and read so that the connection can be used again.
  private static let shownBytes = 200
  private static let readBytes = 64 << 10
  /// Of lines in one request; a larger one goes alone.
  private static let mostLineBytes = 8 << 20

  /// Makes no connection yet.
  public init(_ address: HTTPSinkAddress) {
    self.address = address
    name = "\(address)"
    var configuration = HTTPClient.Configuration()
    // A redirect would carry payloads and password to somebody else.
    configuration.redirectConfiguration = .disallow
    // Its own retries would hide that the receiver is away.
    configuration.connectionPool.retryConnectionEstablishment = false
    configuration.connectionPool.concurrentHTTP1ConnectionsPerHostSoftLimit = address.concurrency * 4
    configuration.timeout = .init(connect: TimeAmount(address.timeout), read: TimeAmount(address.timeout))
    client = HTTPClient(eventLoopGroupProvider: .singleton, configuration: configuration)
  }

  public func store(_ deliveries: [Delivery]) async throws(SinkFailure) -> [SinkOutcome] {
    guard !deliveries.isEmpty else { return [] }
    let known = memory.withLock { $0.accepted }
    let places = deliveries.indices.filter { !known.contains(deliveries[$0].header.id) }
    var answers: [Int: HTTPAnswer] = [:]
    switch address.form {
    case .single: await sendEach(places, of: deliveries, &answers)
    case .ndjson: await sendLines(places, of: deliveries, &answers)
    }
    return try outcomes(of: deliveries, places, answers)
  }

  public func close() async throws(SinkFailure) {
    do {
      try await client.shutdown()
    } catch {
      throw SinkFailure("can't close the connections to \(name): \(error)")
    }
  }

  // MARK: What it means

  private func outcomes(
    of deliveries: [Delivery], _ places: [Int], _ answers: [Int: HTTPAnswer]
  ) throws(SinkFailure) -> [SinkOutcome] {
    var outcomes = [SinkOutcome](repeating: .stored, count: deliveries.count)
    var accepted: [EnvelopeID] = []
    var failure: SinkFailure?
    var stumble: String?
    for place in places {
      switch answers[place] {
      case .accepted: accepted.append(deliveries[place].header.id)
      case .refused(let reason): outcomes[place] = .failed(reason: reason, retryable: false)
      case .failed(let reason):
        outcomes[place] = .failed(reason: reason, retryable: true)
        stumble = reason
      case .notNow(let reason, let retryAfter):
        failure = failure ?? SinkFailure(reason, retryAfter: retryAfter)
      case nil: failure = failure ?? SinkFailure("it was cancelled")
      }
    }
    if failure == nil, let stumble, isIll(deliveries[places[0]].header.id, accepted: accepted.count) {
      failure = SinkFailure(stumble)
    }
    let failed = failure != nil
    memory.withLock { memory in
      memory.total += accepted.count
      if failed {
        if memory.accepted.count > Self.mostRemembered { memory.accepted = [] }
        memory.accepted.formUnion(accepted)
      } else {
        for delivery in deliveries { memory.accepted.remove(delivery.header.id) }
      }
    }
    if let failure { throw failure }
    return outcomes
  }

  /// Whether a 5xx says more of the receiver than of the payloads.
  private func isIll(_ first: EnvelopeID, accepted: Int) -> Bool {
    memory.withLock { memory in
      let before = memory.stumbles.removeValue(forKey: first)
      if accepted > 0 { return false }
      if let before, memory.total > before { return false }
      if memory.stumbles.count > Self.mostRemembered { memory.stumbles = [:] }
      memory.stumbles[first] = before ?? memory.total
      return true
    }
  }

  // MARK: One request for each

  private func sendEach(_ places: [Int], of deliveries: [Delivery], _ answers: inout [Int: HTTPAnswer]) async {
    await withTaskGroup(of: (Int, HTTPAnswer?).self) { group in
      var next = places.makeIterator()
      func start() {
        guard let place = next.next() else { return }
        let request = single(deliveries[place])
        group.addTask { (place, await self.send(request)) }
      }
      for _ in 0..<address.concurrency { start() }
      var isAway = false
      while let (place, answer) = await group.next() {
        answers[place] = answer
        // The rest would be told the same.
        if case .notNow = answer { isAway = true }
        if !isAway && !Task.isCancelled { start() }
      }
    }
  }

  private func single(_ delivery: Delivery) -> HTTPClientRequest {
    let header = delivery.header
    var request = request()
    request.headers.add(name: "idempotency-key", value: "\(header.id)")
    // Never the Content-Encoding that came: the body is decoded, or never was what its label said.
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

  /// What can't stand in a header as it is, percent-encoded: an envelope may have been pushed by hand.
  private static func fieldValue(_ text: String) -> String {
    guard !text.utf8.allSatisfy({ 0x20...0x7E ~= $0 }) else { return text }
    return text.utf8.map { byte in
      0x20...0x7E ~= byte
        ? String(UnicodeScalar(byte)) : "%" + (byte < 16 ? "0" : "") + String(byte, radix: 16, uppercase: true)
    }.joined()
  }

  // MARK: Many in one

  private func sendLines(_ places: [Int], of deliveries: [Delivery], _ answers: inout [Int: HTTPAnswer]) async {
    var rest = places[...]
    while !rest.isEmpty && !Task.isCancelled {
      var lines = ByteBuffer()
      var count = 0
      for place in rest {
        let end = lines.writerIndex
        PayloadLine(deliveries[place]).write(to: &lines)
        if count > 0 && lines.writerIndex > Self.mostLineBytes {
          lines.moveWriterIndex(to: end)
          break
        }
        count += 1
      }
      let part = rest.prefix(count)
      rest = rest.dropFirst(count)
      guard await sendLines(lines, part, of: deliveries, &answers) else { return }
    }
  }

  /// A receiver that refuses a batch doesn't say for which line. So it is halved until the line is alone.
  /// - Returns: Whether the receiver takes anything at all now.
  private func sendLines(
    _ lines: ByteBuffer, _ places: ArraySlice<Int>, of deliveries: [Delivery], _ answers: inout [Int: HTTPAnswer]
  ) async -> Bool {
    var request = request()
    request.headers.add(name: "content-type", value: "application/x-ndjson")
    request.body = .bytes(lines)
    guard let answer = await send(request) else { return false }
    switch answer {
    case .refused where places.count > 1:
      for half in [places.prefix(places.count / 2), places.dropFirst(places.count / 2)] {
        var lines = ByteBuffer()
        for place in half { PayloadLine(deliveries[place]).write(to: &lines) }
        guard await sendLines(lines, half, of: deliveries, &answers) else { return false }
      }
      return true
    case .accepted, .refused, .failed:
      for place in places { answers[place] = answer }
      return true
    case .notNow:
      for place in places { answers[place] = answer }
      return false
    }
  }

  // MARK: One request

  private func request() -> HTTPClientRequest {
    var request = HTTPClientRequest(url: address.url)
    request.method = .POST
    request.headers.add(name: "user-agent", value: "sluice")
    if let authorization = address.authorization { request.headers.add(name: "authorization", value: authorization) }
    return request
  }

  /// Nil when it was cancelled.
  private func send(_ request: HTTPClientRequest) async -> HTTPAnswer? {
    // A deadline of our own around all of it: the client's ends with the answer's head.
    let timeout = address.timeout
    return await withTaskGroup(of: HTTPAnswer?.self) { group in
      group.addTask { await self.exchange(request) }
      group.addTask {
        do { try await Task.sleep(for: timeout) } catch { return nil }
        return .notNow(reason: "the receiver didn't answer within \(timeout)", retryAfter: nil)
      }
      // Whichever is first ends both; but what was accepted in the last moment counts.
      var answers: [HTTPAnswer] = []
      for await answer in group {
        group.cancelAll()
        if let answer { answers.append(answer) }
      }
      return answers.first { if case .notNow = $0 { false } else { true } } ?? (Task.isCancelled ? nil : answers.first)
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
    } catch let error as HTTPClientError {
      // The short form has no values in it, and a header's value may be a password.
      return .notNow(reason: "the receiver can't be reached: \(error.shortDescription)", retryAfter: nil)
    } catch {
      return .notNow(reason: "the receiver can't be reached: \(error)", retryAfter: nil)
    }
  }

  /// The status has decided already: a body that breaks off must not turn "accepted" into a failure.
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
      // What came is shown; the connection is gone, which the next request will find out.
    }
    return String(buffer: beginning).split(whereSeparator: \.isNewline).joined(separator: " ")
  }

  /// A number of seconds, or a date.
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
