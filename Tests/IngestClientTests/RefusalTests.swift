// The rule that the incidents of 2013 and 2014 asked for: a refusal pauses, it doesn't end. A minute of wrong 401s must cost a minute's delay,
// and nothing else.

import RedisFixture
import Testing

@testable import IngestClient

struct RefusalTests {
  private static let refusal = IngestClient.Answer(status: 401, words: "unknown_key")

  private static func refuse(_ sending: Outbox.Sending, _ now: Duration) -> AttemptResult {
    .status(401, words: "unknown_key")
  }

  @Test(arguments: [401, 403])
  func `a minute of refusals delays payloads, and loses none`(status: Int) throws {
    var world = try OutboxWorld()
    try world.submit(count: 50)
    // Meanwhile the service goes on pushing.
    for second in 0..<120 {
      try world.submit(count: 5)
      try world.run(for: .seconds(1)) { _, now in
        now >= .seconds(10) && now < .seconds(70) ? .status(status) : .status(202)
      }
      let paused = (11..<70).contains(second)
      if paused { #expect(world.outbox.state == .paused(IngestClient.Answer(status: status, words: ""))) }
    }
    try world.run(for: .seconds(60)) { _, _ in .status(202) }
    #expect(world.delivered.count == 650)
    #expect(world.undelivered.isEmpty)
    #expect(world.states.map(\.state) == [.paused(IngestClient.Answer(status: status, words: "")), .engaged])
  }

  @Test func `in a pause one payload asks, alone and at growing intervals`() throws {
    var world = try OutboxWorld { $0.concurrency = 1 }
    try world.submit(count: 100)
    try world.run(for: .seconds(280), server: Self.refuse)
    #expect(Set(world.sent.map(\.number)) == [0])
    #expect(world.outbox.count == 100)
    let intervals = zip(world.sent, world.sent.dropFirst()).map { $1.at - $0.at }
    for (index, interval) in intervals.enumerated() {
      let bound = min(Duration.seconds(60), .seconds(1) * (1 << index))
      #expect(interval >= bound * 0.5 && interval <= bound + .milliseconds(11), "interval \(index): \(interval)")
    }
    #expect((8...15).contains(world.sent.count))
  }

  @Test func `what else was in flight at the refusal is kept, and doesn't ask`() throws {
    var world = try OutboxWorld()
    try world.submit(count: 20)
    try world.run(for: .milliseconds(400), server: Self.refuse)
    #expect(world.sent.count == 8)
    #expect(world.outbox.count == 20)
    try world.run(for: .seconds(60), server: Self.refuse)
    #expect(Set(world.sent.dropFirst(8).map(\.number)).count == 1)
    try world.run(for: .seconds(120)) { _, _ in .status(202) }
    #expect(world.delivered.count == 20)
  }

  @Test func `an acceptance that was sent before the refusal doesn't engage`() throws {
    var world = try OutboxWorld { $0.concurrency = 2 }
    var latencies: [Duration] = [.milliseconds(10), .milliseconds(500)]
    world.latency = { latencies.isEmpty ? .milliseconds(10) : latencies.removeFirst() }
    try world.submit(count: 3)
    try world.run(for: .seconds(60)) { sending, now in
      sending.number == 1 && now == .zero ? .status(202) : .status(401, words: "unknown_key")
    }
    #expect(world.delivered.keys.sorted() == [1])
    #expect(world.states.map(\.state) == [.paused(Self.refusal)])
  }

  @Test func `only refusals for the whole patience disengage`() throws {
    var world = try OutboxWorld()
    try world.submit(count: 30)
    try world.run(for: .seconds(299), server: Self.refuse)
    #expect(world.undelivered.isEmpty)
    try world.run(for: .seconds(3), server: Self.refuse)
    try #require(world.states.map(\.state) == [.paused(Self.refusal), .disengaged(Self.refusal)])
    // At the end of the patience, by an answer; not before, and not an interval later.
    let (paused, disengaged) = (world.states[0].at, world.states[1].at)
    #expect(disengaged - paused >= .seconds(300) && disengaged - paused < .seconds(301))
    #expect(world.undelivered.count == 29)
    #expect(world.undelivered.values.allSatisfy { $0.reason == .disengaged(Self.refusal) })
    #expect(world.outbox.count == 1)
    #expect(throws: IngestClient.Rejection.disengaged(Self.refusal)) { try world.submit() }
  }

  @Test func `silence doesn't disengage`() throws {
    var world = try OutboxWorld { $0.payloadLifetime = .seconds(86_400) }
    try world.submit(count: 10)
    try world.run(for: .seconds(36_000)) { _, now in
      now == .zero ? .status(401) : .failed(.timedOut, retryAfter: nil)
    }
    #expect(world.outbox.state == .paused(IngestClient.Answer(status: 401, words: "")))
    #expect(world.outbox.count == 10)
    try world.run(for: .seconds(120)) { _, _ in .status(202) }
    #expect(world.delivered.count == 10)
  }

  @Test func `a failure among the refusals starts the patience anew`() throws {
    var world = try OutboxWorld()
    try world.submit(count: 10)
    var failed: Duration?
    try world.run(for: .seconds(700)) { sending, now in
      if now > .seconds(200), failed == nil {
        failed = now
        return .status(503)
      }
      return Self.refuse(sending, now)
    }
    let disengaged = try #require(world.states.last)
    #expect(disengaged.state == .disengaged(Self.refusal))
    #expect(disengaged.at - (try #require(failed)) > .seconds(300))
  }

  @Test func `a disengaged client asks rarely and forever, and keeps what it asks with`() throws {
    var world = try OutboxWorld()
    try world.submit(count: 5)
    try world.run(for: .seconds(301), server: Self.refuse)
    let before = world.sent.count
    try world.run(for: .seconds(86_400), server: Self.refuse)
    let asks = world.sent.dropFirst(before)
    #expect((130...160).contains(asks.count), "one each ten minutes of a day")
    for (one, next) in zip(asks, asks.dropFirst()) {
      #expect(next.at - one.at > .seconds(539) && next.at - one.at < .seconds(661))
      #expect(next.number == one.number)
    }
    #expect(world.outbox.count == 1)
  }

  @Test func `one accepted payload engages a disengaged client again`() throws {
    var world = try OutboxWorld()
    try world.submit(count: 5)
    try world.run(for: .seconds(3600), server: Self.refuse)
    try world.run(for: .seconds(700)) { _, _ in .status(202) }
    #expect(world.outbox.state == .engaged)
    #expect(world.delivered.keys.sorted() == [0])
    try world.submit(count: 5)
    try world.run(for: .seconds(1)) { _, _ in .status(202) }
    #expect(world.delivered.count == 6)
  }

  @Test func `a payload that can't be taken says nothing of the key, and another one asks`() throws {
    var world = try OutboxWorld { $0.concurrency = 1 }
    try world.submit(count: 3)
    try world.run(for: .seconds(30)) { sending, now in
      if now < .seconds(3) { return .status(401) }
      return sending.number == 0 ? .status(413) : .status(202)
    }
    #expect(world.undelivered.keys.sorted() == [0])
    #expect(world.delivered.keys.sorted() == [1, 2])
  }

  @Test func `a disengaged client with nothing left asks with the next payload`() throws {
    var world = try OutboxWorld()
    try world.submit()
    try world.run(for: .seconds(301), server: Self.refuse)
    try world.run(for: .seconds(3600)) { _, _ in .status(413) }
    #expect(world.outbox.count == 0)
    let next = try world.submit()
    #expect(throws: IngestClient.Rejection.self) { try world.submit() }
    try world.run(for: .seconds(700)) { _, _ in .status(202) }
    #expect(world.delivered[next] != nil)
    #expect(world.outbox.state == .engaged)
  }

  @Test func `the time of a pause isn't taken off anybody's lifetime`() throws {
    var world = try OutboxWorld {
      $0.payloadLifetime = .seconds(20)
      $0.retries.longest = .seconds(1)
      $0.refusals.longestAsk = .seconds(5)
    }
    try world.submit(count: 10)
    try world.run(for: .seconds(10)) { _, _ in .status(503) }
    try world.run(for: .seconds(200), server: Self.refuse)
    #expect(world.undelivered.isEmpty)
    try world.run(for: .seconds(10)) { _, _ in .status(202) }
    #expect(world.delivered.count == 10)
  }

  @Test func `a payload that comes in a pause lives as long after it as any other`() throws {
    var world = try OutboxWorld {
      $0.payloadLifetime = .seconds(20)
      $0.retries.longest = .seconds(1)
      $0.refusals.longestAsk = .seconds(5)
    }
    try world.submit()
    try world.run(for: .seconds(200), server: Self.refuse)
    let late = try world.submit()
    try world.run(for: .seconds(10)) { sending, _ in sending.number == late ? .status(503) : .status(202) }
    #expect(world.outbox.state == .engaged)
    #expect(world.outbox.count == 1)
    try world.run(for: .seconds(16)) { _, _ in .status(503) }
    #expect(world.undelivered[late]?.reason == .expired)
  }

  @Test func `a drain in a pause goes on asking until its deadline`() throws {
    var world = try OutboxWorld()
    try world.submit(count: 10)
    try world.run(for: .seconds(5), server: Self.refuse)
    world.drain(within: .seconds(30))
    try world.run(for: .seconds(60)) { _, now in now < .seconds(15) ? .status(401) : .status(202) }
    #expect(world.hasEnded)
    #expect(world.delivered.count == 10)
  }

  @Test func `a disengaged client doesn't wait for its next ask to end`() throws {
    var world = try OutboxWorld()
    try world.submit(count: 10)
    try world.run(for: .seconds(302), server: Self.refuse)
    world.drain(within: .seconds(30))
    let before = world.now
    try world.run(for: .seconds(60), server: Self.refuse)
    #expect(world.hasEnded && world.now == before)
    #expect(world.undelivered.count == 10)
  }

  /// Whatever the server does, in any order: each payload ends once, a pause loses none, and the limits hold.
  @Test func `whatever the server does, every payload ends exactly once`() throws {
    var generator = SeededGenerator.announced()
    var refusals = 0
    for _ in 0..<150 {
      let seed = generator.next()
      var random = SeededGenerator(seed: seed)
      let concurrency = Int.random(in: 1...9, using: &random)
      let patience = Duration.seconds(Int.random(in: 0...400, using: &random))
      var world = try OutboxWorld(seed: seed) {
        $0.concurrency = concurrency
        $0.buffer.payloads = 40
        $0.refusals.patience = patience
        $0.payloadLifetime = .seconds(Int.random(in: 10...2_000, using: &random))
      }
      var latencies = random
      world.latency = { .milliseconds(Int.random(in: 1...30_000, using: &latencies)) }
      var taken = 0
      for _ in 0..<60 {
        // A regime: how likely each kind of answer is, for a while.
        let weights = (0..<5).map { _ in Int.random(in: 0...4, using: &random) * Int.random(in: 0...1, using: &random) }
        for _ in 0..<Int.random(in: 0...20, using: &random) {
          do {
            try world.submit()
            taken += 1
          } catch let rejection as IngestClient.Rejection {
            switch rejection.code {
            case .bufferFull: #expect(world.outbox.count == 40)
            case .disengaged: #expect(world.outbox.count > 0)
            default: Issue.record("\(rejection), seed \(seed)")
            }
          }
        }
        try world.run(for: .seconds(Int.random(in: 1...120, using: &random))) { _, _ in
          let results: [AttemptResult] = [
            .status(202), .status(401), .status(503, retryAfter: .seconds(7)), .failed(.timedOut, retryAfter: nil),
            .status(413),
          ]
          let choices = zip(results, weights).flatMap { repeatElement($0, count: $1) }
          return choices.randomElement(using: &random) ?? .status(202)
        }
        #expect(world.mostInFlight <= concurrency)
        #expect(world.delivered.count + world.undelivered.count + world.outbox.count == taken, "seed \(seed)")
        #expect(world.outbox.bytes == world.outbox.count * 2)
      }
      refusals += world.states.count
      let disengaged = world.states.contains { if case .disengaged = $0.state { true } else { false } }
      for payload in world.undelivered.values {
        switch payload.reason.code {
        case .disengaged: #expect(disengaged, "seed \(seed)")
        case .expired, .undeliverable: break
        default: Issue.record("expected the client not to have ended, got \(payload.reason), seed \(seed)")
        }
      }
      // The faults end: everything that is left is delivered, and the client is engaged.
      world.latency = { .milliseconds(10) }
      try world.run(for: .seconds(2_000)) { _, _ in .status(202) }
      #expect(world.outbox.count == 0, "seed \(seed)")
      if taken > 0, world.sent.last.map({ $0.at > world.now - .seconds(2_000) }) ?? false {
        #expect(world.outbox.state == .engaged, "seed \(seed)")
      }
      world.drain(within: .seconds(1))
      try world.run(for: .seconds(2)) { _, _ in .status(202) }
      #expect(world.hasEnded)
    }
    #expect(refusals > 500, "too few refusals to prove anything")
  }
}
