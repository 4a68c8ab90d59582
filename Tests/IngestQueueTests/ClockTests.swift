// Redis's clock makes a step while there are leases and payloads that wait for a retry. The test sets the clock of a
// real server.

import Hiredis
import IngestQueue
import NIOCore
import QueueFixture
import RedisFixture
import Testing

struct ClockTests {
  /// A queue on a Redis whose clock is the test's.
  private static func withClock(_ body: (QueueUnderTest, MovedClock) async throws -> Void) async throws {
    let clock = try await ServerClock()
    try await QueueUnderTest.with(RedisServerOptions { $0.clock = clock }) { queue in
      try await body(queue, MovedClock(queue.server))
    }
  }

  /// The server's clock, as the time that has passed and how wrong it is.
  final class MovedClock {
    private let server: RedisServer
    private(set) var passed = Duration.zero
    private var wrong = Duration.zero

    init(_ server: RedisServer) { self.server = server }

    func pass(_ time: Duration) async throws {
      passed += time
      try await server.setClock(ahead: passed + wrong)
    }

    func step(_ by: Duration) async throws {
      wrong += by
      try await server.setClock(ahead: passed + wrong)
    }
  }

  private static let hour = Duration.seconds(3_600)

  @Test(arguments: [-2, 1]) func `a worker that lives keeps its batch, whichever way the clock goes`(hours: Int)
    async throws
  {
    try await Self.withClock { queue, clock in
      try await queue.push(0..<5)
      let (worker, other) = (try queue.worker { $0.lease = .seconds(12) }, try queue.worker("other"))
      var batch = try await worker.batch()
      #expect(try await other.reap() == Reaping())
      try await clock.step(Self.hour * hours)
      for _ in 1...8 {
        #expect(try await other.reap() == Reaping())
        let state = try await queue.state()
        let claim = try #require(state.claims.first)
        #expect(claim.leaseUntil - state.readAt <= 12_000)
        #expect(claim.claimedAt <= state.readAt)
        // As often as workers do.
        try await clock.pass(.seconds(4))
        #expect(try await worker.extendLease(of: &batch))
      }
      #expect(try await worker.acknowledge(batch) == .settled(dead: 0))
      #expect(try await queue.state().failing == 0)
    }
  }

  @Test(arguments: [-2, 1]) func `a dead worker's batch waits for no more than another lease`(hours: Int) async throws {
    try await Self.withClock { queue, clock in
      try await queue.push(0..<5)
      let (dead, other) = (try queue.worker("dead") { $0.lease = .seconds(5) }, try queue.worker("other"))
      _ = try await dead.batch()
      try await clock.step(Self.hour * hours)
      var reaping = try await other.reap()
      while reaping.putBack == 0, clock.passed < .seconds(60) {
        try await clock.pass(.seconds(1))
        reaping = try await other.reap()
      }
      #expect(reaping.putBack == 5)
      #expect(clock.passed <= .seconds(6), "\(clock.passed)")
      #expect(try await other.batch().numbers == Array(0..<5))
    }
  }

  @Test func `a claim of a build that noted no length ends within the longest lease`() async throws {
    try await Self.withClock { queue, clock in
      try await queue.push(0..<2)
      let worker = try queue.worker { $0.lease = .seconds(5) }
      _ = try await worker.batch()
      let claim = queue.layout.claim(worker: worker.worker, slot: 0)
      let header = try await queue.send("LINDEX", claim, 0).string()
      #expect(header.contains(#","lease":5000}"#))
      _ = try await queue.send("LSET", claim, 0, header.replacing(#","lease":5000"#, with: ""))
      let other = try queue.worker("other")
      try await clock.step(Self.hour * -48)
      #expect(try await other.reap() == Reaping())
      var state = try await queue.state()
      #expect(try #require(state.claims.first).leaseUntil - state.readAt <= 3_600_000)
      for _ in 1...400 {
        try await clock.pass(.seconds(10))
        if try await other.reap().putBack > 0 { break }
      }
      state = try await queue.state()
      #expect(state.claims == [] && state.pending == 2)
      #expect(clock.passed <= Self.hour + .seconds(20))
    }
  }

  @Test(arguments: [-1, 1]) func `a payload is tried again when its delay is over, whichever way the clock goes`(
    hours: Int
  ) async throws {
    try await Self.withClock { queue, clock in
      try await queue.push([7])
      let worker = try queue.worker()
      let batch = try await worker.batch()
      _ = try await worker.settle(batch, [.retry(reason: "not now", delay: .seconds(60))])
      try await clock.pass(.seconds(4))
      #expect(try await worker.claimsNothing())
      try await clock.step(Self.hour * hours)
      while try await worker.claimsNothing(), clock.passed < .seconds(300) {
        try await clock.pass(.seconds(2))
        let survey = try await QueueSurvey.read(from: queue.client, layout: queue.layout)
        let left = try #require(survey.nextDueAt) - survey.state.readAt
        #expect((-70_000...70_000).contains(left), "\(left) ms at \(clock.passed)")
      }
      #expect((.seconds(50)...(.seconds(70))).contains(clock.passed), "\(clock.passed)")
      // Entries that are put there now use the clock's current time.
      _ = try await worker.claimsNothing(slot: 1)
      try await queue.push([8])
      let next = try await worker.batch(slot: 1)
      let begun = clock.passed
      _ = try await worker.settle(next, [.postpone(delay: .seconds(20))])
      while try await worker.claimsNothing(slot: 1), clock.passed < .seconds(300) { try await clock.pass(.seconds(2)) }
      #expect((.seconds(14)...(.seconds(24))).contains(clock.passed - begun), "\(clock.passed - begun)")
    }
  }

  @Test func `whatever the clock does, nothing is early, and each step costs a lease at most`() async throws {
    try await Self.withClock { queue, clock in
      var generator = SeededGenerator.announced()
      for round in 0..<6 {
        let start = clock.passed
        let lease = Duration.seconds(Int.random(in: 5...40, using: &generator))
        let delay = Duration.seconds(Int.random(in: 5...200, using: &generator))
        let dead = try queue.worker("dead-\(round)") { $0.lease = lease }
        let other = try queue.worker("other") { $0.lease = lease }
        try await queue.push([0])
        let retried = try await other.batch()
        _ = try await other.settle(retried, [.postpone(delay: delay)])
        // Use another account's list, so that the payload can be recognised when it returns.
        try await queue.push([1])
        _ = try await dead.batch()
        var steps = 0
        var (putBack, due): (Duration?, Duration?) = (nil, nil)
        while (putBack == nil || due == nil) && clock.passed - start < .seconds(1_000) {
          try await clock.pass(.milliseconds(Int.random(in: 500...3_000, using: &generator)))
          if steps < 3, Int.random(in: 0..<15, using: &generator) == 0 {
            let size = Int.random(in: 60...7_200, using: &generator)
            try await clock.step(.seconds(Bool.random(using: &generator) ? size : -size))
            steps += 1
          }
          if try await other.reap().putBack > 0 { putBack = clock.passed - start }
          guard case .batch(let batch) = try await other.claim(slot: 0, takesSuspects: true) else { continue }
          if try batch.numbers.contains(0) { due = clock.passed - start }
          _ = try await other.acknowledge(batch)
        }
        // The last payload that was put back may not have been claimed yet, and would be counted in the next round.
        while case .batch(let batch) = try await other.claim(slot: 0, takesSuspects: true) {
          _ = try await other.acknowledge(batch)
        }
        let (ended, retriedAt) = (try #require(putBack), try #require(due))
        let slack = Duration.seconds(6)
        #expect(ended >= lease - .seconds(1) || steps > 0)
        #expect(ended <= (lease + slack) * (steps + 1), "round \(round): \(ended) for \(lease), \(steps) steps")
        #expect(retriedAt >= delay - slack, "round \(round): \(retriedAt) for \(delay), \(steps) steps")
        #expect(
          retriedAt <= delay + slack * (2 * steps + 1), "round \(round): \(retriedAt) for \(delay), \(steps) steps")
      }
    }
  }

  @Test func `workers are listed as they are after the clock went back`() async throws {
    try await Self.withClock { queue, clock in
      let (gone, live) = (try queue.worker("gone"), try queue.worker("live") { $0.forgetAfter = .seconds(30) })
      _ = try await gone.claimsNothing()
      _ = try await live.claimsNothing()
      try await clock.step(Self.hour * -1)
      _ = try await live.claimsNothing()
      var state = try await queue.state()
      #expect(state.workers.filter { $0.seenAt <= state.readAt }.map(\.name) == ["live"])
      #expect(try await live.reap().forgotten == 0)
      while try await live.reap().forgotten == 0, clock.passed < .seconds(300) {
        try await clock.pass(.seconds(4))
        _ = try await live.claimsNothing()
      }
      state = try await queue.state()
      #expect(state.workers.map(\.name) == ["live"])
      #expect(clock.passed <= .seconds(40))
    }
  }

  @Test func `idle workers cost no writes but one every few seconds`() async throws {
    try await Self.withClock { queue, _ in
      let worker = try queue.worker()
      _ = try await worker.claimsNothing()
      _ = try await worker.reap()
      let stats = try await queue.send("HGET", queue.layout.stats, "clock").string()
      for _ in 1...20 {
        _ = try await worker.claimsNothing()
        _ = try await worker.reap()
      }
      #expect(try await queue.send("HGET", queue.layout.stats, "clock").string() == stats)
    }
  }
}
