import IngestQueue
import NIOCore
import QueueFixture
import RedisClient
import RedisFixture
import Testing

/// Many workers that do anything that a worker may do, at random, dying included. An envelope is at every moment in one
/// place, and leaves the queue once.
struct QueueInvariantTests {
  @Test func `whatever workers do and however they die, each envelope ends stored once or as a dead letter`()
    async throws
  {
    var generator = SeededGenerator.announced()
    let seeds = (0..<4).map { _ in generator.next() }
    try await QueueUnderTest.with { queue in
      let count = 400
      try await queue.push(0..<count / 2)
      for number in count / 2..<count { try await queue.fill(number % QueueLayout.lists, [number]) }
      let stored = try await withThrowingTaskGroup(of: [Int].self) { group in
        for (worker, seed) in seeds.enumerated() {
          group.addTask { try await Self.work(as: "worker-\(worker)", seed: seed, on: queue) }
        }
        return try await group.reduce(into: []) { $0 += $1 }
      }
      let dead = try await queue.deadLetters().map { try Envelope($0.element).header.number }
      #expect((stored + dead).sorted() == Array(0..<count))
      #expect(stored.count > count / 4, "the faults left nothing to store: this run says nothing")
      #expect(dead.count > 0, "nothing was given up: this run says nothing of dead letters")
      #expect(try await queue.state().failing == 0)
      // A payload may have been claimed before its bytes were counted. A claim that finds the lists empty resets them.
      try await queue.producer.drain().get()
      #expect(try await queue.worker().claimsNothing())
      #expect(try await queue.countedBytes() == [:])
      #expect(try await queue.keptDeadBytes() == queue.recountedDeadBytes())
    }
  }

  /// Works until nothing is left; returns what it acknowledged.
  private static func work(as name: String, seed: UInt64, on queue: QueueUnderTest) async throws -> [Int] {
    var generator = SeededGenerator(seed: seed)
    var stored: [Int] = []
    func life() throws -> QueueConsumer {
      try queue.worker(name) {
        $0.lease = .milliseconds(80)
        $0.deaths = 5
        $0.envelopes = Int.random(in: 1...20, using: &generator)
        $0.reapedAtOnce = Int.random(in: 1...30, using: &generator)
      }
    }
    var consumer = try life()
    let deadline = ContinuousClock.now + .seconds(20)
    while ContinuousClock.now < deadline {
      if Int.random(in: 0..<4, using: &generator) == 0 { _ = try await consumer.reap() }
      let lane = Int.random(in: 0..<3, using: &generator)
      let claim = try await consumer.claim(slot: lane, takesSuspects: lane == 0)
      guard case .batch(var batch) = claim else {
        let state = try await queue.state()
        if state.pending + state.later + state.claimed == 0 { return stored }
        continue
      }
      switch Int.random(in: 0..<20, using: &generator) {
      case 0:
        // The worker dies with its claimed batch, and with everything else that it had.
        consumer = try life()
        continue
      case 1: _ = try await consumer.extendLease(of: &batch)
      case 2:
        _ = try await consumer.putBack(batch)
        continue
      default: break
      }
      let fates: [Disposition] = batch.entries.map { _ in
        switch Int.random(in: 0..<30, using: &generator) {
        case 0: .dead(reason: "by chance")
        case 1...3: .retry(reason: "by chance", delay: .milliseconds(Int.random(in: 0...20, using: &generator)))
        case 4: .putBack
        default: .done
        }
      }
      if case .settled = try await consumer.settle(batch, fates) {
        for (number, fate) in zip(try batch.numbers, fates) where fate == .done { stored.append(number) }
      }
    }
    throw Unexpected(description: "the queue isn't empty after 20 s: \(try await queue.state())")
  }
}
