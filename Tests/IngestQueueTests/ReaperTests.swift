import Hiredis
import IngestQueue
import NIOCore
import QueueFixture
import RedisClient
import RedisFixture
import Testing

struct ReaperTests {
  @Test func `a claim whose lease has ended goes back in its old order, and its owner finds out`() async throws {
    try await QueueUnderTest.with { queue in
      try await queue.push(0..<20)
      let slow = try queue.worker("slow") {
        $0.lease = .milliseconds(50)
        $0.envelopes = 10
      }
      var batch = try await slow.batch()
      let other = try queue.worker("other")
      let reaping = try await other.reapSomething()
      #expect(reaping.putBack == 10)
      #expect(reaping.claims == 1)
      #expect(reaping.strange.isEmpty)
      #expect(try await queue.pending(QueueLayout.suspects) == Array(0..<10))
      #expect(try await slow.extendLease(of: &batch) == false)
      #expect(try await slow.acknowledge(batch) == .lost(to: nil))
      #expect(
        try await queue.pending(QueueLayout.suspects) == Array(0..<10),
        "who has lost a claim must not take anything away")
      #expect(try await queue.pending() == Array(10..<20))
    }
  }

  @Test func `a claim whose lease hasn't ended stays`() async throws {
    try await QueueUnderTest.with { queue in
      try await queue.push(0..<10)
      let worker = try queue.worker()
      let batch = try await worker.batch()
      let reaping = try await queue.worker("reaper").reap()
      #expect(reaping == Reaping())
      #expect(try await worker.acknowledge(batch) == .settled(dead: 0))
    }
  }

  @Test func `a lease that has ended can be extended as long as nobody has reaped it`() async throws {
    try await QueueUnderTest.with { queue in
      try await queue.push(0..<10)
      let worker = try queue.worker { $0.lease = .milliseconds(30) }
      var batch = try await worker.batch()
      let ended = try #require(try await queue.state().claims.first)
      try await eventually("the lease has ended") { try await queue.state().readAt > ended.leaseUntil }
      #expect(try await worker.extendLease(of: &batch))
      #expect(try #require(try await queue.state().claims.first).leaseUntil > ended.leaseUntil)
    }
  }

  @Test func `one look moves no more than it may, and what is left can't be settled by the one who was late`()
    async throws
  {
    try await QueueUnderTest.with { queue in
      try await queue.push(0..<25)
      let slow = try queue.worker("slow") { $0.lease = .milliseconds(20) }
      let batch = try await slow.batch()
      let reaper = try queue.worker("reaper") { $0.reapedAtOnce = 10 }
      let first = try await reaper.reapSomething()
      #expect(first.putBack == 10)
      #expect(first.isUnfinished)
      #expect(try await slow.acknowledge(batch) == .lost(to: nil))
      let second = try await reaper.reap()
      #expect(second.putBack == 10)
      #expect(second.isUnfinished)
      let third = try await reaper.reap()
      #expect(third.putBack == 5)
      #expect(!third.isUnfinished)
      #expect(try await queue.pending(QueueLayout.suspects) == Array(0..<25))
      #expect(try await queue.state().claims.isEmpty)
    }
  }

  @Test
  func `after a worker's death its envelopes come few at a time and into one lane, and alone before they are dead`()
    async throws
  {
    try await QueueUnderTest.with { queue in
      try await queue.push(0..<9)
      let worker = try queue.worker {
        $0.lease = .milliseconds(10)
        $0.envelopes = 9
      }
      _ = try await worker.batch()
      _ = try await worker.reapSomething()
      // All nine were claimed. The second one is the poison: it kills two more workers.
      #expect(try await worker.claimsNothing(slot: 1, takesSuspects: false), "suspects wait for their lane")
      #expect(try await worker.batch().numbers == [0, 1, 2])
      _ = try await worker.reapSomething()
      let calm = try queue.worker("calm") { $0.envelopes = 9 }
      #expect(try await calm.claimsNothing(slot: 1, takesSuspects: false))
      let first = try await calm.batch()
      #expect(try first.numbers == [0])
      #expect(first.entries.map(\.failures) == [2])
      _ = try await calm.acknowledge(first)
      #expect(try await worker.batch().numbers == [1])
      _ = try await worker.reapSomething()
      let letter = try #require(try await queue.deadLetters().first)
      #expect(letter.reason == "worker died 3 times")
      #expect(letter.deaths == 3)
      #expect(letter.worker == "worker-1")
      #expect(try Envelope(letter.element).header.number == 1)
      // The others were only near it.
      try await queue.push([9, 10])
      for (numbers, failures) in [([2], [2]), ([3, 4, 5], [1, 1, 1]), ([6, 7, 8], [1, 1, 1]), ([9, 10], [0, 0])] {
        let batch = try await calm.batch()
        #expect(try batch.numbers == numbers)
        #expect(batch.entries.map(\.failures) == failures)
        _ = try await calm.acknowledge(batch)
      }
      #expect(try await queue.state().failing == 0)
      #expect(try await queue.state().dead == 1)
    }
  }

  @Test func `while suspects wait, all other lists go on, list 0 as well`() async throws {
    try await QueueUnderTest.with { queue in
      try await queue.push(0..<3)
      let worker = try queue.worker { $0.lease = .milliseconds(10) }
      _ = try await worker.batch()
      _ = try await worker.reapSomething()
      let calm = try queue.worker("calm")
      try await queue.fill(0, 10..<13)
      try await queue.fill(9, 20..<23)
      // Every list begins once: none of these claims has a suspect in it.
      for slot in 1..<QueueLayout.slots {
        if case .batch(let batch) = try await calm.claim(slot: slot, takesSuspects: false) {
          #expect(Set(try batch.numbers) == [10, 11, 12, 20, 21, 22])
        }
      }
      try await queue.fill(0, 13..<16)
      #expect(try await calm.batch().numbers == [0, 1, 2], "suspects come first, and with no others")
      #expect(try await calm.batch(slot: 15, takesSuspects: false).numbers == [13, 14, 15])
    }
  }

  @Test func `a suspect that came twice doesn't stop the list that it is in`() async throws {
    try await QueueUnderTest.with { queue in
      try await queue.push([0])
      let worker = try queue.worker { $0.lease = .milliseconds(10) }
      _ = try await worker.batch()
      _ = try await worker.reapSomething()
      // By hand, and what failed before is pushed again.
      _ = try await queue.send("DEL", queue.layout.pending(QueueLayout.suspects))
      try await queue.fill(7, 0..<2)
      let calm = try queue.worker("calm")
      var claimed: [[Int]] = []
      for _ in 0..<2 * QueueLayout.lists {
        guard case .batch(let batch) = try await calm.claim(slot: 0, takesSuspects: true) else { continue }
        claimed.append(try batch.numbers)
        _ = try await calm.acknowledge(batch)
      }
      #expect(claimed == [[1], [0]])
      #expect(try await queue.state().failing == 0)
    }
  }

  @Test func `a list without a header is reported and its elements are put back`() async throws {
    try await QueueUnderTest.with { queue in
      try await queue.push(0..<5)
      let worker = try queue.worker { $0.lease = .seconds(600) }
      _ = try await worker.batch(slot: 2)
      let claim = "sluice:{queue-0}:claim:worker-1:2"
      _ = try await queue.send("LPOP", claim)
      guard case .held(let holder) = try await worker.claim(slot: 2, takesSuspects: true) else {
        Issue.record("a slot with a list of unknown origin was used")
        return
      }
      #expect(holder.instance == "")
      let reaping = try await worker.reap()
      #expect(reaping.putBack == 5)
      #expect(reaping.strange == ["\(claim): no header"])
      #expect(try await queue.pending() == Array(0..<5))
      #expect(try await worker.batch(slot: 2).numbers == Array(0..<5))
    }
  }

  @Test func `a slot that is no list is reported and hinders nobody`() async throws {
    try await QueueUnderTest.with { queue in
      try await queue.push(0..<2)
      let worker = try queue.worker { $0.lease = .milliseconds(20) }
      _ = try await worker.batch(slot: 1)
      _ = try await queue.send("SET", "sluice:{queue-0}:claim:worker-1:0", "by hand")
      let reaping = try await worker.reapSomething()
      #expect(reaping.putBack == 2)
      #expect(reaping.strange.count == 1)
      #expect(reaping.strange.first?.contains("WRONGTYPE") == true)
    }
  }

  @Test func `a worker that wasn't seen for long is forgotten, one with a claim never`() async throws {
    try await QueueUnderTest.with { queue in
      try await queue.push([0])
      let (idle, busy) = (try queue.worker("idle"), try queue.worker("busy"))
      _ = try await busy.batch()
      _ = try await idle.claimsNothing()
      let reaper = try queue.worker("reaper") { $0.forgetAfter = .milliseconds(30) }
      #expect(try await idle.reap().forgotten == 0)
      try await eventually("the idle worker is forgotten") { try await reaper.reap().forgotten == 1 }
      #expect(try await queue.state().workers.map(\.name) == ["busy"])
      _ = try await idle.claimsNothing()
      #expect(try await queue.state().workers.map(\.name).sorted() == ["busy", "idle"])
    }
  }
}
