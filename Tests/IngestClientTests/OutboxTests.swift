import RedisFixture
import Testing

@testable import IngestClient

/// What is sent, kept and given back as long as nobody refuses the key.
struct OutboxTests {
  @Test func `no more is in flight than may be`() throws {
    var world = try OutboxWorld { $0.concurrency = 4 }
    try world.submit(count: 100)
    try world.run(for: .seconds(10)) { _, _ in .status(202) }
    #expect(world.mostInFlight == 4)
    #expect(world.delivered.count == 100)
    #expect(world.sent.count == 100)
    #expect(world.outbox.bytes == 0)
  }

  @Test func `a full buffer refuses the new payload, and takes it when there is room`() throws {
    var world = try OutboxWorld {
      $0.buffer.payloads = 3
      $0.buffer.bytes = 100
    }
    try world.submit(bytes: 60)
    #expect(throws: IngestClient.Rejection.bufferFull) { try world.submit(bytes: 41) }
    #expect(throws: IngestClient.Rejection.tooLarge(limit: 100)) { try world.submit(bytes: 101) }
    try world.submit(bytes: 20)
    try world.submit(bytes: 20)
    #expect(throws: IngestClient.Rejection.bufferFull) { try world.submit(bytes: 0) }
    try world.run(for: .seconds(1)) { _, _ in .status(202) }
    #expect(world.delivered.count == 3)
    try world.submit(bytes: 100)
  }

  @Test func `one payload that stays keeps nothing of all those that come and go behind it`() throws {
    var world = try OutboxWorld { $0.payloadLifetime = .seconds(30 * 86_400) }
    let stays = try world.submit()
    var most = 0
    for _ in 0..<2_000 {
      try world.submit(count: 20)
      try world.run(for: .seconds(1)) { sending, _ in .status(sending.number == stays ? 503 : 202) }
      most = max(most, world.outbox.queuedNumbers)
    }
    #expect(world.delivered.count > 10_000 && world.delivered[stays] == nil)
    #expect(most < 3_200 + 4 * world.outbox.count, "\(most) numbers for \(world.outbox.count) payloads")
  }

  @Test func `a payload with a header that can't be sent isn't taken`() throws {
    var outbox = Outbox(try OutboxWorld.configuration(), random: SeededGenerator(seed: 1))
    for payload in [
      IngestClient.Payload([], contentType: "text/plain\r\nx-api-key: other"),
      IngestClient.Payload([], idempotencyKey: ""), IngestClient.Payload([], idempotencyKey: "a b"),
      IngestClient.Payload([], idempotencyKey: String(repeating: "a", count: 256)),
    ] {
      #expect(throws: IngestClient.Rejection.self) { _ = try outbox.submit(payload, at: .zero) }
    }
    _ = try outbox.submit(IngestClient.Payload([], contentType: "text/plain"), at: .zero)
  }

  @Test(arguments: [400, 413, 415, 422])
  func `what the gate can't take comes back with its words, and is sent once`(status: Int) throws {
    var world = try OutboxWorld()
    let bad = try world.submit()
    let good = try world.submit()
    try world.run(for: .seconds(3600)) { sending, _ in
      sending.number == bad ? .status(status, words: "no sense") : .status(202)
    }
    #expect(world.undelivered[bad]?.reason == .undeliverable(IngestClient.Answer(status: status, words: "no sense")))
    #expect(world.undelivered[bad]?.attempts == 1)
    #expect(world.delivered[good] != nil)
    #expect(world.sent.count == 2)
  }

  @Test(arguments: [301, 404, 408, 429, 500, 502, 503, 504])
  func `every other answer is retried, and so are silence and lost connections`(status: Int) throws {
    for failure in [
      .status(status), .failed(.timedOut, retryAfter: nil), .failed(.disconnected("reset"), retryAfter: nil),
    ] as [AttemptResult] {
      var world = try OutboxWorld()
      let number = try world.submit()
      try world.run(for: .seconds(600)) { _, now in now < .seconds(60) ? failure : .status(202) }
      #expect(world.delivered[number]?.attempts == world.sent.count)
      #expect((3...200).contains(world.sent.count))
      #expect(world.states.isEmpty)
    }
  }

  @Test func `waits are drawn evenly below a bound that doubles and then stays`() {
    let backoff = Backoff(first: .milliseconds(200), longest: .seconds(30))
    #expect((1...4).map(backoff.bound(after:)) == [200, 400, 800, 1600].map { .milliseconds($0) })
    #expect(backoff.bound(after: 9) == .seconds(30))
    #expect(backoff.bound(after: .max) == .seconds(30))
    var generator = SeededGenerator.announced()
    let waits = (0..<2000).map { _ in backoff.wait(after: 3, using: &generator) }
    #expect(waits.allSatisfy { $0 >= .zero && $0 <= .milliseconds(800) })
    for quarter in 0..<4 {
      let range = Duration.milliseconds(200 * quarter)..<Duration.milliseconds(200 * (quarter + 1))
      #expect((400...600).contains(waits.count { range.contains($0) }))
    }
  }

  @Test func `Retry-After holds everything back, and is believed only so far`() throws {
    var world = try OutboxWorld { $0.retries.longestRetryAfter = .seconds(60) }
    try world.submit(count: 20)
    try world.run(for: .seconds(300)) { _, now in
      now < .seconds(5) ? .status(503, retryAfter: .seconds(1_000_000)) : .status(202)
    }
    #expect(world.delivered.count == 20)
    // The first eight were in flight together; whatever came after waited.
    #expect(world.sent.filter { $0.at < .seconds(60) }.count == 8)
    #expect(world.sent.contains { $0.at < .seconds(62) && $0.at >= .seconds(60) })
  }

  @Test func `while the server is away one request at a time tries`() throws {
    var world = try OutboxWorld { $0.retries.longest = .seconds(5) }
    try world.submit(count: 1000)
    try world.run(for: .seconds(600)) { _, now in now < .seconds(300) ? .status(503) : .status(202) }
    #expect(world.delivered.count == 1000)
    let during = world.sent.filter { $0.at < .seconds(300) }
    // Eight at first, then one each 2.5 s on the average; not a thousand.
    #expect((50...300).contains(during.count), "\(during.count)")
    // Once the first is taken all the others follow at full speed.
    let last = try #require(world.sent.last)
    #expect(last.at < .seconds(320))
    let together = Dictionary(grouping: world.sent.filter { $0.at > .seconds(300) }, by: \.at)
    #expect(together.values.map(\.count).max() == 8)
  }

  @Test func `what was in flight together and fails together is one failure`() throws {
    var world = try OutboxWorld {
      $0.concurrency = 50
      $0.retries.longest = .seconds(3600)
    }
    try world.submit(count: 60)
    try world.run(for: .seconds(2)) { sending, now in now < .milliseconds(5) ? .status(503) : .status(202) }
    // Fifty failures in a row would have raised the bound beyond an hour.
    #expect(world.delivered.count >= 10)
  }

  @Test func `a payload that always fails doesn't keep the others back`() throws {
    var world = try OutboxWorld {
      $0.concurrency = 1
      $0.payloadLifetime = .seconds(86_400)
    }
    let poison = try world.submit()
    for _ in 0..<50 {
      try world.submit(count: 10)
      try world.run(for: .seconds(60)) { sending, _ in .status(sending.number == poison ? 500 : 202) }
    }
    #expect(world.delivered.count == 500)
    #expect(world.undelivered.isEmpty)
    #expect(world.outbox.count == 1)
  }

  @Test func `what was never tried comes before what has failed`() throws {
    var world = try OutboxWorld { $0.concurrency = 1 }
    // Enough of them that one is always due again.
    try world.submit(count: 30)
    try world.submit(count: 5)
    try world.run(for: .seconds(1500)) { sending, _ in .status(sending.number < 30 ? 500 : 202) }
    #expect(world.delivered.count == 5)
  }

  @Test func `a payload is given back at the end of its lifetime, with its last failure`() throws {
    var world = try OutboxWorld { $0.payloadLifetime = .seconds(100) }
    let early = try world.submit()
    try world.run(for: .seconds(50)) { _, _ in .status(503) }
    let late = try world.submit()
    try world.run(for: .seconds(60)) { _, _ in .status(503, words: "undecided") }
    let expired = try #require(world.undelivered[early])
    #expect(expired.reason == .expired)
    #expect(expired.attempts > 1)
    #expect(expired.lastFailure == .answered(IngestClient.Answer(status: 503, words: "undecided")))
    #expect(world.undelivered[late] == nil)
    try world.run(for: .seconds(60)) { _, _ in .status(503) }
    #expect(world.undelivered[late]?.reason == .expired)
    #expect(world.outbox.bytes == 0)
  }

  @Test func `a payload whose lifetime ends in flight is delivered if its answer says so`() throws {
    for taken in [true, false] {
      var world = try OutboxWorld { $0.payloadLifetime = .seconds(10) }
      world.latency = { .seconds(20) }
      let number = try world.submit()
      try world.run(for: .seconds(60)) { _, _ in taken ? .status(202) : .failed(.timedOut, retryAfter: nil) }
      #expect((world.delivered[number] != nil) == taken)
      #expect((world.undelivered[number]?.reason == .expired) == !taken)
    }
  }

  // MARK: Ending

  @Test func `a drain delivers what is there, and takes nothing more`() throws {
    var world = try OutboxWorld()
    try world.submit(count: 100)
    world.drain(within: .seconds(30))
    #expect(throws: IngestClient.Rejection.ending) { try world.submit() }
    try world.run(for: .seconds(60)) { _, now in now < .seconds(1) ? .status(503) : .status(202) }
    #expect(world.hasEnded)
    #expect(world.delivered.count == 100)
  }

  @Test func `a drain gives back at its deadline what isn't delivered, in flight or not`() throws {
    var world = try OutboxWorld { $0.concurrency = 2 }
    world.latency = { .seconds(3600) }
    try world.submit(count: 10)
    world.drain(within: .seconds(30))
    try world.run(for: .seconds(31)) { _, _ in .status(202) }
    #expect(world.hasEnded)
    #expect(world.now == .seconds(30))
    #expect(world.undelivered.count == 10)
    #expect(world.undelivered.values.allSatisfy { $0.reason == .ended })
    #expect(world.undelivered.values.filter { $0.lastFailure == .disconnected("cancelled") }.count == 2)
  }

  @Test func `a drain doesn't wait for what can't come before its deadline`() throws {
    var world = try OutboxWorld()
    try world.submit(count: 10)
    world.drain(within: .seconds(30))
    try world.run(for: .seconds(60)) { _, _ in .status(503, retryAfter: .seconds(120)) }
    #expect(world.hasEnded)
    #expect(world.now < .seconds(1))
    #expect(world.undelivered.count == 10)
  }
}
