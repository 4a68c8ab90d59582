import Hiredis
import IngestQueue
import NIOCore
import QueueFixture
import RedisClient
import RedisFixture
import Testing

struct QueueConsumerTests {
  @Test func `a batch comes in the order of the pushes, is its worker's alone, and is gone when acknowledged`()
    async throws
  {
    try await QueueUnderTest.with { queue in
      try await queue.push(0..<250)
      let one = try queue.worker("one") { $0.envelopes = 100 }
      let two = try queue.worker("two") { $0.envelopes = 100 }
      let first = try await one.batch()
      let second = try await two.batch()
      let third = try await one.batch(slot: 1)
      #expect(try first.numbers == Array(0..<100))
      #expect(try second.numbers == Array(100..<200))
      #expect(try third.numbers == Array(200..<250))
      #expect(try await two.claimsNothing(slot: 1))
      #expect(try await queue.state().claimed == 250)
      for entry in first.entries {
        #expect(try entry.content.get().payload.elementsEqual("payload".utf8))
        #expect(entry.failures == 0)
      }
      #expect(try await one.acknowledge(first) == .settled(dead: 0))
      #expect(try await two.acknowledge(second) == .settled(dead: 0))
      #expect(try await one.acknowledge(third) == .settled(dead: 0))
      #expect(try await queue.keys() == [queue.layout.workers, queue.layout.stats, queue.layout.bytes])
      #expect(try await queue.state().done == 250)
      try await one.leave()
      try await two.leave()
      #expect(try await queue.keys() == [queue.layout.stats, queue.layout.bytes])
    }
  }

  @Test func `a claim says in its first element whose it is and until when`() async throws {
    try await QueueUnderTest.with { queue in
      try await queue.push(0..<3)
      let worker = try queue.worker { $0.lease = .seconds(600) }
      let batch = try await worker.batch(slot: 7)
      let state = try await queue.state()
      let claim = try #require(state.claims.first)
      #expect(claim.worker == "worker-1")
      #expect(claim.instance == worker.instance)
      #expect(claim.slot == 7)
      #expect(claim.envelopes == 3)
      #expect((540_000...600_000).contains(claim.leaseUntil - state.readAt))
      let line = try await queue.send("LINDEX", "sluice:{queue-0}:claim:worker-1:7", 0).string()
      #expect(line.hasPrefix(#"{"worker":"worker-1","instance":"\#(worker.instance)","batch":\#(batch.number),"#))
      #expect(state.workers.map(\.name) == ["worker-1"])
      #expect(state.workers.map(\.instance) == [worker.instance])
    }
  }

  @Test func `a claim ends at its bytes, and an envelope over them comes alone`() async throws {
    try await QueueUnderTest.with { queue in
      for (number, size) in [10, 4_000, 4_000, 20_000, 10].enumerated() {
        try await queue.push([number], payload: ByteBuffer(repeating: 0, count: size))
      }
      let worker = try queue.worker { $0.bytes = 8_000 }
      #expect(try await worker.batch(slot: 0).numbers == [0, 1])
      #expect(try await worker.batch(slot: 1).numbers == [2])
      #expect(try await worker.batch(slot: 2).numbers == [3])
      #expect(try await worker.batch(slot: 3).numbers == [4])
    }
  }

  @Test func `an envelope larger than a worker takes becomes a dead letter, not an endless claim`() async throws {
    try await QueueUnderTest.with { queue in
      try await queue.push([0])
      try await queue.push([1], payload: ByteBuffer(repeating: 0, count: 20_000))
      try await queue.push([2])
      let worker = try queue.worker { $0.largestEnvelope = 10_000 }
      #expect(try await worker.batch().numbers == [0, 2])
      let letter = try #require(try await queue.deadLetters().first)
      #expect(letter.reason.contains("more than a worker takes (10000)"), "\(letter.reason)")
      #expect(letter.account == "acme")
      #expect(try Envelope(letter.element).header == .numbered(1))
    }
  }

  @Test func `what is put back comes next and in its old order, and nothing is held against it`() async throws {
    try await QueueUnderTest.with { queue in
      try await queue.push(0..<20)
      let worker = try queue.worker { $0.envelopes = 10 }
      let batch = try await worker.batch()
      #expect(try await worker.putBack(batch) == .settled(dead: 0))
      #expect(try await queue.pending() == Array(0..<20))
      #expect(try await worker.batch().entries.map(\.failures) == Array(repeating: 0, count: 10))
    }
  }

  @Test func `one settling gives each envelope its own fate`() async throws {
    try await QueueUnderTest.with { queue in
      try await queue.push(0..<8)
      let worker = try queue.worker()
      let batch = try await worker.batch()
      let settlement = try await worker.settle(
        batch,
        [
          .done, .putBack, .retry(reason: "locked", delay: .zero), .dead(reason: "no gzip \"at\" all\n"), .done,
          .putBack, .dead(reason: "too large"), .done,
        ])
      #expect(settlement == .settled(dead: 2))
      #expect(try await queue.pending() == [1, 5])
      let state = try await queue.state()
      #expect(state.later == 1)
      #expect(state.claims.isEmpty)
      #expect(state.failing == 1)
      #expect(state.done == 3, "what was put back, is tried again or was given up isn't done")
      let letters = try await queue.deadLetters()
      #expect(letters.map(\.reason).sorted() == ["no gzip \"at\" all\n", "too large"])
      for letter in letters {
        #expect(letter.attempts == 1)
        #expect(letter.deaths == 0)
        #expect(letter.worker == "worker-1")
        #expect(letter.account == "acme")
        #expect(letter.firstAt == letter.diedAt)
        #expect(try Envelope(letter.element).header.id.description == letter.id)
      }
      let again = try await worker.batch()
      #expect(try again.numbers == [2, 1, 5])
      #expect(again.entries.map(\.failures) == [1, 0, 0])
      #expect(try await worker.acknowledge(again) == .settled(dead: 0))
      #expect(try await queue.state().failing == 0)
    }
  }

  @Test func `what failed comes back after its delay and not before, and is a dead letter after the last attempt`()
    async throws
  {
    try await QueueUnderTest.with { queue in
      try await queue.push([0])
      let worker = try queue.worker { $0.attempts = 3 }
      var before: ContinuousClock.Instant?
      for attempt in 0..<3 {
        var batch: ClaimedBatch?
        try await eventually("it comes back") {
          guard case .batch(let claimed) = try await worker.claim(slot: 0, takesSuspects: true) else { return false }
          batch = claimed
          return true
        }
        if let before { #expect(ContinuousClock.now - before > .milliseconds(45)) }
        let claimed = try #require(batch)
        #expect(claimed.entries.map(\.failures) == [attempt])
        before = .now
        let settlement = try await worker.settle(claimed, [.retry(reason: "try \(attempt)", delay: .milliseconds(50))])
        #expect(settlement == .settled(dead: attempt == 2 ? 1 : 0))
        #expect(try await queue.state().dead == (attempt == 2 ? 1 : 0))
      }
      let letter = try #require(try await queue.deadLetters().first)
      #expect(letter.reason == "try 2")
      #expect(letter.attempts == 3)
      #expect(letter.firstAt < letter.diedAt)
      #expect(
        try await queue.keys() == [
          queue.layout.workers, queue.layout.dead, queue.layout.deadBytes, queue.layout.bytes, queue.layout.stats,
        ])
    }
  }

  @Test func `the delay before another attempt is kept by Redis's clock`() async throws {
    try await QueueUnderTest.with { queue in
      try await queue.push(0..<3)
      let worker = try queue.worker()
      let batch = try await worker.batch()
      let before = try await queue.state().readAt
      let delays = [1_000, 60_000, 3_600_000]
      _ = try await worker.settle(batch, delays.map { .retry(reason: "r", delay: .milliseconds($0)) })
      let after = try await queue.state().readAt
      let later = try await queue.send("ZRANGE", queue.layout.later, 0, -1, "WITHSCORES").array()
      for (place, delay) in delays.enumerated() {
        #expect(try Envelope(later[2 * place].bytes()).header == .numbered(place))
        let due = try #require(Int64(try later[2 * place + 1].string()))
        #expect((before + Int64(delay)...after + Int64(delay)).contains(due))
      }
      #expect(try await worker.claimsNothing())
      // Moved into the past, as if the time had passed.
      _ = try await queue.send("ZADD", queue.layout.later, after - 1, later[2].bytes())
      #expect(try await worker.batch().numbers == [1])
    }
  }

  @Test func `a count that is no number keeps nothing from being acknowledged`() async throws {
    try await QueueUnderTest.with { queue in
      _ = try await queue.send("SET", queue.layout.stats, "by hand")
      try await queue.push(0..<3)
      let worker = try queue.worker()
      #expect(try await worker.acknowledge(worker.batch()) == .settled(dead: 0))
      #expect(try await queue.keys() == [queue.layout.workers, queue.layout.stats, queue.layout.bytes])
    }
  }

  @Test func `a claim whose answer was lost is handed out again`() async throws {
    try await QueueUnderTest.with { queue in
      try await queue.push(0..<5)
      let worker = try queue.worker()
      let lost = try await worker.batch(slot: 3)
      let again = try await worker.batch(slot: 3)
      #expect(try again.numbers == lost.numbers)
      #expect(again.number == lost.number)
      #expect(try await worker.acknowledge(again) == .settled(dead: 0))
      #expect(try await worker.claimsNothing(slot: 3))
    }
  }

  @Test func `an element that is no envelope is handed out as such and can be buried with all its bytes`() async throws
  {
    try await QueueUnderTest.with { queue in
      let rubbish: [UInt8] = [0, 255, 10, 13, 34]
      _ = try await queue.send("LPUSH", queue.layout.pending(0), rubbish)
      try await queue.push([1])
      let worker = try queue.worker()
      let batch = try await worker.batch()
      #expect(throws: InvalidEnvelope.self) { try batch.entries[0].content.get() }
      _ = try await worker.settle(batch, [.dead(reason: "no envelope"), .done])
      let letter = try #require(try await queue.deadLetters().first)
      #expect(letter.element == rubbish)
      #expect(letter.account == nil)
      #expect(letter.id.count == 40)
    }
  }

  @Test func `settling goes on while Redis is away, until it answers`() async throws {
    let options = RedisServerOptions { $0.appendOnly = .always }
    try await QueueUnderTest.with(options) { queue in
      try await queue.push(0..<10)
      let worker = try queue.worker()
      let batch = try await worker.batch()
      try await queue.server.kill9()
      async let settlement = worker.acknowledge(batch)
      try await eventually("the consumer has noticed") {
        do throws(QueueFailure) {
          _ = try await worker.reap()
          return false
        } catch {
          return true
        }
      }
      try await queue.server.restart()
      #expect(try await settlement == .settled(dead: 0))
      #expect(try await queue.keys() == [queue.layout.workers, queue.layout.stats, queue.layout.bytes])
    }
  }

  @Test func `settling ends when the lease is surely over`() async throws {
    try await QueueUnderTest.with { queue in
      try await queue.push(0..<10)
      let worker = try queue.worker { $0.lease = .milliseconds(400) }
      let batch = try await worker.batch()
      try await queue.server.kill9()
      await #expect(throws: QueueFailure.self) { try await worker.acknowledge(batch) }
    }
  }

  @Test func `a full Redis that takes no push is drained to empty`() async throws {
    let options = RedisServerOptions { $0.maxMemory = 8 << 20 }
    try await QueueUnderTest.with(options) { queue in
      var pushed = 0
      var refusal: RedisServerError?
      while refusal == nil {
        do {
          try await queue.push(pushed..<(pushed + 20), payload: ByteBuffer(repeating: 7, count: 10_000))
          pushed += 20
        } catch EnqueueError.refused(let error) {
          refusal = error
        }
      }
      #expect(refusal?.code == "OOM")
      #expect(pushed > 100)
      let worker = try queue.worker { $0.envelopes = 10 }
      var stored: Set<Int> = []
      var turn = 0
      while stored.count + Int(try await queue.state().dead) < pushed {
        guard case .batch(var batch) = try await worker.claim(slot: 0, takesSuspects: true) else { continue }
        turn += 1
        #expect(try await worker.extendLease(of: &batch))
        var fates = Array(repeating: Disposition.done, count: batch.entries.count)
        // Every outcome that a worker can report must work when Redis is full.
        if turn < 4 { fates[0] = [.putBack, .retry(reason: "r", delay: .zero), .dead(reason: "d")][turn - 1] }
        _ = try await worker.settle(batch, fates)
        for (number, fate) in zip(try batch.numbers, fates) where fate == .done { stored.insert(number) }
        _ = try await worker.reap()
      }
      let state = try await queue.state()
      #expect(state.pending + state.later + state.claimed == 0)
      #expect(state.dead == 1)
      try await queue.push([pushed])
    }
  }
}
