import Foundation
import IngestQueue
import NIOHTTP1
import QueueFixture
import RedisFixture
import Testing

@testable import IngestWorker

struct HTTPSinkTests {
  private func delivery(_ number: Int) -> Delivery {
    Delivery(header: .numbered(number), body: DecodedBody(bytes: Array("\(number)".utf8)[...], undone: nil))
  }

  private func sink(_ receiver: PayloadReceiver, _ query: String = "", user: String = "") throws -> any Sink {
    try SinkAddress("http://\(user)127.0.0.1:\(receiver.port)/in\(query)").open(logger: .silent)
  }

  @Test func `a request has the payload's type and what is known of it, and no encoding that was undone`() async throws
  {
    let receiver = try await PayloadReceiver.start()
    let sink = try sink(receiver, "?a=b&timeout=20", user: "me:p%40ss@")
    var header = EnvelopeHeader.numbered(1)
    header.account = "Ünïcode\r\nX-Evil: 1"
    header.contentEncoding = "gzip"
    header.traceparent = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"
    let delivery = Delivery(header: header, body: DecodedBody(bytes: [1], undone: "gzip"))
    #expect(try await sink.store([delivery]) == [.stored])
    let request = try #require(receiver.requests.first)
    #expect(request.uri == "/in?a=b")
    let fields = request.headers
    #expect(fields["idempotency-key"] == ["\(header.id)"])
    #expect(fields["content-type"] == ["application/json"])
    #expect(fields["content-encoding"] == [])
    #expect(fields["sluice-content-encoding"] == ["gzip"])
    #expect(fields["traceparent"] == [header.traceparent])
    #expect(fields["sluice-key"] == [String(header.key.prefix(16))])
    #expect(fields["sluice-received-at"] == ["\(header.receivedAt)"])
    #expect(fields["sluice-account"] == ["%C3%9Cn%C3%AFcode%0D%0AX-Evil: 1"])
    #expect(fields["x-evil"] == [])
    #expect(fields["authorization"] == ["Basic " + Data("me:p@ss".utf8).base64EncodedString()])
    try await sink.close()
  }

  @Test(arguments: ["", "?batch=ndjson"])
  func `each status means what the table says`(query: String) async throws {
    let receiver = try await PayloadReceiver.start()
    let sink = try sink(receiver, query)
    var number = 0
    func outcome(_ status: Int, _ headers: HTTPHeaders = [:]) async throws(SinkFailure) -> SinkOutcome {
      receiver.answer { _, _ in
        .init(status: status, headers: headers, body: "because\nof this" + String(repeating: "x", count: 9_000))
      }
      number += 1
      return try await sink.store([delivery(number)])[0]
    }
    for status in [200, 201, 202, 204, 299] where status != 204 {
      #expect(try await outcome(status) == .stored)
    }
    for status in [400, 406, 409, 411, 413, 415, 418, 422, 451] {
      guard case .failed(let reason, retryable: false) = try await outcome(status) else {
        Issue.record("\(status) isn't the end of a payload")
        continue
      }
      #expect(reason.hasPrefix("the receiver answered \(status): because of this"), "\(reason)")
      #expect(reason.utf8.count < 250)
    }
    for status in [301, 302, 401, 403, 404, 405, 407, 408, 410, 425, 429, 500, 502, 503, 504] {
      let failure = await #expect(throws: SinkFailure.self) { _ = try await outcome(status) }
      #expect(failure?.description.contains("\(status)") == true)
    }
    #expect(
      await failure { () async throws(SinkFailure) in _ = try await outcome(429, ["retry-after": "7"]) }?.retryAfter
        == .seconds(7))
    let format = DateFormatter()
    format.locale = Locale(identifier: "en_US_POSIX")
    format.timeZone = TimeZone(secondsFromGMT: 0)
    format.dateFormat = "EEE, dd MMM yyyy HH:mm:ss 'GMT'"
    let date = format.string(from: Date(timeIntervalSinceNow: 100))
    let told = await failure { () async throws(SinkFailure) in _ = try await outcome(503, ["retry-after": date]) }
    let wait = try #require(told?.retryAfter)
    #expect(wait > .seconds(60) && wait <= .seconds(100))
    #expect(
      await failure { () async throws(SinkFailure) in _ = try await outcome(503, ["retry-after": "soon"]) }?.retryAfter
        == .some(nil))
    try await sink.close()
  }

  private func failure(_ body: () async throws(SinkFailure) -> Void) async -> SinkFailure? {
    do throws(SinkFailure) {
      try await body()
      return nil
    } catch {
      return error
    }
  }

  @Test func `one payload that the receiver doesn't take holds up no others, and what was accepted isn't sent again`()
    async throws
  {
    let receiver = try await PayloadReceiver.start { request, _ in
      request.body == Array("3".utf8) ? .init(status: 503, headers: ["retry-after": "7"]) : nil
    }
    let sink = try sink(receiver, "?concurrency=1")
    let batch = (1...5).map { delivery($0) }
    let outcomes = try await sink.store(batch)
    #expect(outcomes.map { $0 == .stored } == [true, true, false, true, true])
    let postponement = Postponement(
      reason: "the receiver answered 503", isCounted: true, failures: 1, after: .seconds(7))
    #expect(outcomes[2] == .postponed(postponement))
    #expect(receiver.requests.map(\.body) == ["1", "2", "3", "4", "5"].map { Array($0.utf8) })
    try await sink.close()
  }

  @Test func `a receiver that takes nothing any more is soon left alone, and what it took before isn't sent again`()
    async throws
  {
    let receiver = try await PayloadReceiver.start { _, number in number < 2 ? nil : .init(status: 503) }
    let sink = try sink(receiver, "?concurrency=1")
    let batch = (1...50).map { delivery($0) }
    let outcomes = try await sink.store(batch)
    #expect(outcomes.count { $0 == .stored } == 2)
    #expect(receiver.requests.count == 10)
    #expect(outcomes.count { $0 == .setAside } == 40)
    await #expect(throws: SinkFailure.self) { try await sink.store(Array(batch[2...])) }
    receiver.answer { _, _ in nil }
    #expect(try await sink.store(Array(batch[2...])) == Array(repeating: .stored, count: 48))
    try await sink.close()
  }

  @Test func `a 500 counts against a payload only where others are accepted`() async throws {
    let receiver = try await PayloadReceiver.start { request, _ in
      request.body == Array("2".utf8) ? .init(status: 500) : nil
    }
    let sink = try sink(receiver)
    let outcomes = try await sink.store([delivery(1), delivery(2), delivery(3)])
    #expect(outcomes[0] == .stored && outcomes[2] == .stored)
    #expect(outcomes[1] == .failed(reason: "the receiver answered 500", retryable: true))
    // Alone, and nothing accepted since: the receiver may be ill.
    for _ in 0..<3 { await #expect(throws: SinkFailure.self) { try await sink.store([delivery(2)]) } }
    #expect(try await sink.store([delivery(4)]) == [.stored])
    // Now it has accepted something else since this one failed last.
    #expect(try await sink.store([delivery(2)]) == [.failed(reason: "the receiver answered 500", retryable: true)])
    await #expect(throws: SinkFailure.self) { try await sink.store([delivery(2)]) }
    try await sink.close()
  }

  @Test func `a receiver that says nothing has its time, and one that has accepted need say nothing more`() async throws
  {
    let receiver = try await PayloadReceiver.start()
    let sink = try sink(receiver, "?timeout=1")
    receiver.hold()
    let clock = ContinuousClock()
    let begun = clock.now
    let silence = await #expect(throws: SinkFailure.self) { try await sink.store([delivery(1)]) }
    #expect(silence?.description.contains("answer") == true || silence?.description.contains("reached") == true)
    #expect(clock.now - begun < .seconds(8))
    receiver.release()
    receiver.answer { _, _ in .init(isUnending: true) }
    #expect(try await sink.store([delivery(2)]) == [.stored])
    try await sink.close()
  }
}
