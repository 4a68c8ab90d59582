// The client against a real server: the requests that it sends, its reaction to answers, and its reports.

import NIOCore
import NIOHTTP1
import PrometheusText
import RedisFixture
import Synchronization
import Testing

@testable import IngestClient

struct IngestClientTests {
  private func payload(_ text: String = "{}") -> IngestClient.Payload {
    IngestClient.Payload(Array(text.utf8), contentType: "application/json")
  }

  @Test func `a payload arrives with its key, its headers and an idempotency key`() async throws {
    let server = try await PushServer.start { _, _ in .answer(202, body: #"{"id":"7"}"#) }
    let running = try RunningClient(server.endpoint)
    try await running.running {
      let payload = IngestClient.Payload(
        ByteBuffer(string: "hello"), contentType: "text/plain", contentEncoding: "gzip", traceparent: "00-1-2-01")
      let delivery = try await running.client.push(payload)
      #expect(delivery.answer == IngestClient.Answer(status: 202, words: #"{"id":"7"}"#))
      #expect(delivery.attempts == 1)
      #expect(delivery.idempotencyKey == payload.idempotencyKey)
      let push = try #require(server.pushes.first)
      #expect(push.body == Array("hello".utf8))
      #expect(push.headers["authorization"] == ["Bearer \(RunningClient.key)"])
      #expect(push.headers["content-type"] == ["text/plain"])
      #expect(push.headers["content-encoding"] == ["gzip"])
      #expect(push.headers["traceparent"] == ["00-1-2-01"])
      #expect(push.idempotencyKey == payload.idempotencyKey)
      #expect(push.idempotencyKey.count == 32)
      _ = try await running.client.push(self.payload())
      #expect(Set(server.pushes.map(\.idempotencyKey)).count == 2)
    }
  }

  @Test func `all attempts of a payload carry one idempotency key`() async throws {
    let replies: [PushReply] = [.answer(503), .close, .answer(429), .brokenAnswer(500), .answer(202)]
    let server = try await PushServer.start { _, number in replies[min(number, replies.count - 1)] }
    let running = try RunningClient(server.endpoint)
    try await running.running {
      let push = try running.client.submit(payload("one"))
      try await running.passTime(until: "it is delivered") { running.client.bufferedPayloads == 0 }
      guard case .delivered(let delivery) = try await push.outcome() else {
        throw NeverHappened(description: "delivered")
      }
      #expect(delivery.attempts == 5)
      #expect(server.pushes.map(\.idempotencyKey) == Array(repeating: push.idempotencyKey, count: 5))
      #expect(server.pushes.allSatisfy { $0.body == Array("one".utf8) })
    }
  }

  @Test func `nobody at the address is no verdict on the payload`() async throws {
    // The port of a server that has gone, until another one comes there.
    var first: PushServer? = try await PushServer.start { _, _ in .close }
    let port = try #require(first).port
    let running = try RunningClient("http://127.0.0.1:\(port)/v1/events")
    try await running.running {
      let push = try running.client.submit(payload())
      try await eventually("it was tried") { first?.pushes.count == 1 }
      first = nil
      try await running.passTime(until: "nobody is there") { running.log.text.contains("onnection") }
      var second: PushServer?
      try await eventually("another one is there") {
        second = try await PushServer.start(port: port) { _, _ in .answer(202) }
        return true
      }
      try await running.passTime(until: "it is delivered") { running.client.bufferedPayloads == 0 }
      #expect(second?.pushes.map(\.idempotencyKey) == [push.idempotencyKey])
    }
  }

  @Test func `a server that never answers is given up on at the deadline, and asked again`() async throws {
    let server = try await PushServer.start { _, number in number == 0 ? .silence : .answer(202) }
    let running = try RunningClient(server.endpoint) { $0.requestTimeout = .seconds(20) }
    try await running.running {
      let push = try running.client.submit(payload())
      try await eventually("the server has it") { server.pushes.count == 1 }
      running.clock.advance(by: .seconds(19))
      #expect(running.client.due.inFlight == 1)
      running.clock.advance(by: .seconds(1))
      try await running.passTime(until: "it is delivered") { running.client.bufferedPayloads == 0 }
      guard case .delivered(let delivery) = try await push.outcome() else {
        throw NeverHappened(description: "delivered")
      }
      #expect(delivery.attempts == 2)
    }
  }

  @Test func `an acknowledgement whose body breaks off or never ends is one`() async throws {
    let server = try await PushServer.start { _, number in number == 0 ? .brokenAnswer(202) : .unendingAnswer(202) }
    let running = try RunningClient(server.endpoint)
    try await running.running {
      let delivery = try await running.client.push(payload())
      #expect(delivery.attempts == 1)
      #expect(delivery.answer.status == 202)
      #expect(server.pushes.count == 1)
      let push = try running.client.submit(payload())
      // A deadline may come before the head has arrived: then it is asked again. But never is there more than a head.
      try await eventually("it is delivered") {
        running.clock.advance(by: .seconds(30))
        return running.client.bufferedPayloads == 0
      }
      guard case .delivered = try await push.outcome() else { throw NeverHappened(description: "delivered") }
    }
  }

  @Test func `what the gate can't take comes back with its words and itself`() async throws {
    let server = try await PushServer.start { _, _ in .answer(413, body: #"{"error":"too_large","limit":5}"#) }
    let running = try RunningClient(server.endpoint)
    try await running.running {
      let payload = payload("too much")
      let error = try await #require(throws: IngestClient.Undelivered.self) {
        _ = try await running.client.push(payload)
      }
      let answer = IngestClient.Answer(status: 413, words: #"{"error":"too_large","limit":5}"#)
      #expect(error.reason == .undeliverable(answer))
      #expect(error.payload == payload)
      #expect(running.undelivered.all.map(\.payload) == [payload])
      #expect(server.pushes.count == 1)
    }
  }

  @Test func `words are bounded`() async throws {
    let server = try await PushServer.start { _, number in
      .answer(400, body: String(repeating: "x", count: number == 0 ? 10_000 : 1_000_000))
    }
    let running = try RunningClient(server.endpoint)
    try await running.running {
      for _ in 0..<2 {
        let error = try await #require(throws: IngestClient.Undelivered.self) {
          _ = try await running.client.push(payload())
        }
        #expect(error.reason == .undeliverable(.init(status: 400, words: String(repeating: "x", count: 4096))))
      }
    }
  }

  @Test func `a redirect is not followed`() async throws {
    let other = try await PushServer.start { _, _ in .answer(202) }
    let elsewhere = other.endpoint
    let server = try await PushServer.start { _, number in
      number < 3 ? .answer(307, headers: ["location": elsewhere]) : .answer(202)
    }
    let running = try RunningClient(server.endpoint)
    try await running.running {
      try running.client.submit(payload())
      try await running.passTime(until: "it is delivered") { running.client.bufferedPayloads == 0 }
      #expect(server.pushes.count == 4)
      #expect(other.pushes.isEmpty)
    }
  }

  @Test(arguments: [
    ["retry-after": "120"],
    ["retry-after": "Sun, 06 Nov 1994 08:51:37 GMT", "date": "Sun, 06 Nov 1994 08:49:37 GMT"],
  ])
  func `Retry-After is honoured`(headers: [String: String]) async throws {
    let server = try await PushServer.start { _, number in
      number == 0 ? .answer(503, headers: .init(headers.map { ($0.key, $0.value) })) : .answer(202)
    }
    let running = try RunningClient(server.endpoint)
    try await running.running {
      try running.client.submit(payload())
      try await running.passTime(until: "it is delivered") { running.client.bufferedPayloads == 0 }
      #expect(running.clock.offset >= .seconds(120) && running.clock.offset < .seconds(121))
    }
  }

  // MARK: Refusals

  @Test func `a refusal pauses, and everything is delivered when it ends`() async throws {
    let server = try await PushServer.start { _, number in
      (5..<12).contains(number) ? .answer(401, body: "unknown_key") : .answer(202)
    }
    let running = try RunningClient(server.endpoint) { $0.concurrency = 1 }
    try await running.running {
      var states = running.client.states().makeAsyncIterator()
      #expect(await states.next() == .engaged)
      let pushes = try (0..<50).map { try running.client.submit(payload("\($0)")) }
      #expect(await states.next() == .paused(IngestClient.Answer(status: 401, words: "unknown_key")))
      #expect(running.client.state == .paused(IngestClient.Answer(status: 401, words: "unknown_key")))
      try await running.passTime(until: "all are delivered") { running.client.bufferedPayloads == 0 }
      #expect(await states.next() == .engaged)
      for push in pushes {
        guard case .delivered = try await push.outcome() else { throw NeverHappened(description: "delivered") }
      }
      // The refused one was asked with, and nothing else went out meanwhile.
      #expect(Set(server.pushes[5..<12].map(\.idempotencyKey)).count == 1)
      #expect(server.pushes.count == 57)
      #expect(running.clock.offset > .seconds(30))
      #expect(running.undelivered.all.isEmpty)
    }
  }

  @Test func `a client that disengaged says so, gives back what it has, and comes back by itself`() async throws {
    let good = Mutex(false)
    let server = try await PushServer.start { _, _ in .answer(good.withLock { $0 } ? 202 : 403) }
    let running = try RunningClient(server.endpoint) { $0.concurrency = 1 }
    try await running.running {
      let kept = try running.client.submit(payload("kept"))
      let dropped = try running.client.submit(payload("dropped"))
      let refusal = IngestClient.Answer(status: 403, words: "")
      try await running.passTime(until: "it disengages") { running.client.state == .disengaged(refusal) }
      guard case .undelivered(let undelivered) = try await dropped.outcome() else {
        throw NeverHappened(description: "given back")
      }
      #expect(undelivered.reason == .disengaged(refusal))
      #expect(running.undelivered.all.map(\.payload.idempotencyKey) == [dropped.idempotencyKey])
      #expect(throws: IngestClient.Rejection.disengaged(refusal)) { try running.client.submit(payload()) }
      let asked = server.pushes.count
      try await running.passTime(until: "it asks again") { server.pushes.count >= asked + 2 }
      #expect(running.clock.offset > .seconds(300 + 540 * 2))
      #expect(server.pushes.allSatisfy { $0.idempotencyKey == kept.idempotencyKey })
      #expect(running.client.bufferedPayloads == 1)
      good.withLock { $0 = true }
      try await running.passTime(until: "it is engaged again") { running.client.state == .engaged }
      guard case .delivered = try await kept.outcome() else { throw NeverHappened(description: "delivered") }
      _ = try await running.client.push(payload())
    }
    #expect(running.log.text.contains("disengaged"))
  }

  // MARK: Callers

  @Test func `a caller who stops waiting leaves the payload where it is`() async throws {
    let server = try await PushServer.start { _, _ in .answer(202) }
    let running = try RunningClient(server.endpoint)
    let payload = payload()
    let waiting = Task { try await running.client.push(payload) }
    try await eventually("it is taken") { running.client.bufferedPayloads == 1 }
    waiting.cancel()
    await #expect(throws: CancellationError.self) { _ = try await waiting.value }
    // The client wasn't even run until now.
    try await running.running {
      try await eventually("it is delivered") { running.client.bufferedPayloads == 0 }
    }
    #expect(server.pushes.map(\.idempotencyKey) == [payload.idempotencyKey])
  }

  @Test func `many callers at once are all told`() async throws {
    let server = try await PushServer.start { _, number in number % 7 == 3 ? .close : .answer(202) }
    let running = try RunningClient(server.endpoint)
    try await running.running {
      let pushes = try (0..<300).map { try running.client.submit(payload("\($0)")) }
      async let outcomes = withThrowingTaskGroup(of: Bool.self) { group in
        for push in pushes {
          group.addTask { if case .delivered = try await push.outcome() { true } else { false } }
        }
        return try await group.reduce(into: 0) { $0 += $1 ? 1 : 0 }
      }
      try await running.passTime(until: "all are delivered") { running.client.bufferedPayloads == 0 }
      #expect(try await outcomes == 300)
      #expect(Set(server.pushes.map(\.idempotencyKey)).count == 300)
    }
  }

  @Test func `attempts, payloads and rejections are counted, and the key is in no log`() async throws {
    let registry = PrometheusRegistry()
    let server = try await PushServer.start { _, number in
      [.answer(503), .answer(401), .answer(202), .answer(400, body: "no sense")][min(number, 3)]
    }
    let running = try RunningClient(server.endpoint, metrics: registry) {
      $0.buffer.payloads = 2
      $0.concurrency = 1
    }
    try running.client.submit(payload())
    try running.client.submit(payload())
    #expect(throws: IngestClient.Rejection.bufferFull) { try running.client.submit(payload()) }
    try await running.running {
      try await running.passTime(until: "both have ended") { running.client.bufferedPayloads == 0 }
    }
    let text = registry.render()
    for line in [
      #"sluice_client_attempts_total{result="unavailable"} 1"#, #"sluice_client_attempts_total{result="refused"} 1"#,
      #"sluice_client_attempts_total{result="delivered"} 1"#,
      #"sluice_client_attempts_total{result="undeliverable"} 1"#,
      #"sluice_client_payloads_total{outcome="delivered"} 1"#,
      #"sluice_client_payloads_total{outcome="undeliverable"} 1"#,
      #"sluice_client_rejections_total{reason="buffer_full"} 1"#, "sluice_client_buffered_payloads 0",
      "sluice_client_buffered_bytes 0", "sluice_client_state 0",
    ] {
      #expect(text.contains(line + "\n"), "\(line) in\n\(text)")
    }
    #expect(running.log.text.contains("paused"))
    #expect(!running.log.text.contains(RunningClient.key))
  }
}
