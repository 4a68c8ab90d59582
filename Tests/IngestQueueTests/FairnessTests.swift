import Hiredis
import QueueFixture
import RedisClient
import RedisFixture
import Testing

@testable import IngestQueue

/// Claims take from all lists by turns.
struct FairnessTests {
  @Test(arguments: [(envelopes: 500, claims: 1), (envelopes: 50, claims: 5), (envelopes: 1, claims: 17 * 50)])
  func `a flood of 50,000 in one account's lists keeps another account's 100 waiting for few claims`(
    envelopes: Int, claims: Int
  ) async throws {
    try await QueueUnderTest.with { queue in
      // List 0 is full of the flood too: that is when accounts go to lists of their own.
      try await queue.fill(0, 100..<10_100)
      try await queue.fill(3, 10_100..<30_100)
      try await queue.fill(9, 30_100..<50_100)
      try await queue.fill(5, 0..<50)
      try await queue.fill(14, 50..<100)
      let worker = try queue.worker { $0.envelopes = envelopes }
      var missing = Set(0..<100)
      var made = 0
      while !missing.isEmpty && made <= claims {
        let batch = try await worker.batch()
        made += 1
        #expect(batch.entries.count == envelopes)
        missing.subtract(try batch.numbers)
        _ = try await worker.acknowledge(batch)
      }
      #expect(missing.isEmpty)
      #expect(made <= claims)
      let state = try await queue.state()
      #expect(state.pending == 50_100 - Int64(made * envelopes))
      #expect(state.done == Int64(made * envelopes))
      #expect(state.lists.count == QueueLayout.lists)
      #expect(state.lists[5] + state.lists[14] == 0)
    }
  }

  @Test func `what is set aside goes behind all others in the shorter of its account's two lists`() async throws {
    try await QueueUnderTest.with { queue in
      let lists = AccountShuffleShard(account: EnvelopeHeader.numbered(0).account)
      try await queue.fill(lists.first, 100..<150)
      try await queue.fill(lists.second, 200..<203)
      try await queue.push(0..<2)
      let worker = try queue.worker()
      guard case .batch(let batch) = try await worker.claim(slot: 0, takesSuspects: false, ownLimit: { _ in 0 }) else {
        Issue.record("expected a batch from list 0")
        return
      }
      #expect(try batch.numbers == [0, 1])
      #expect(try await worker.settle(batch, [.setAside, .setAside]) == .settled(dead: 0))
      let (longer, shorter) = (try await queue.pending(lists.first), try await queue.pending(lists.second))
      #expect(longer == Array(100..<150))
      #expect(shorter.prefix(3) == [200, 201, 202])
      #expect(Set(shorter.dropFirst(3)) == [0, 1])
    }
  }

  @Test func `each list gives its share of a claim's bytes, and what one doesn't fill goes to the others`() async throws
  {
    try await QueueUnderTest.with { queue in
      try await queue.fill(1, 0..<100, payload: Array(repeating: 0, count: 10_000))
      try await queue.fill(2, 100..<104, payload: Array(repeating: 0, count: 1_000))
      try await queue.fill(3, 200..<300, payload: Array(repeating: 0, count: 2_000))
      let worker = try queue.worker { $0.bytes = 100_000 }
      let numbers = try await worker.batch().numbers
      #expect(numbers.filter { (100..<104).contains($0) } == Array(100..<104))
      // A third each: 33,333 bytes, then what the second list leaves.
      #expect(numbers.filter { $0 < 100 } == Array(0..<numbers.count { $0 < 100 }), "in their order")
      #expect((3...5).contains(numbers.count { $0 < 100 }))
      #expect(numbers.filter { $0 >= 200 } == Array(200..<200 + numbers.count { $0 >= 200 }), "in their order")
      #expect((15...30).contains(numbers.count { $0 >= 200 }))
    }
  }

  @Test func `an envelope that never fits beside others is claimed once its list begins`() async throws {
    try await QueueUnderTest.with { queue in
      try await queue.fill(3, 1..<2_000, payload: Array(repeating: 0, count: 900))
      try await queue.fill(12, [0], payload: Array(repeating: 0, count: 20_000))
      let worker = try queue.worker { $0.bytes = 10_000 }
      var claims = 0
      var numbers: [Int] = []
      while !numbers.contains(0) && claims < QueueLayout.lists {
        let batch = try await worker.batch()
        numbers += try batch.numbers
        claims += 1
        _ = try await worker.acknowledge(batch)
      }
      #expect(numbers.contains(0), "each list begins once in \(QueueLayout.lists) claims")
      #expect(numbers.filter { $0 > 0 } == Array(1..<numbers.count), "nothing that was put back lost its place")
      let state = try await queue.state()
      #expect(state.pending == 2_000 - Int64(numbers.count))
    }
  }

  @Test func `what comes back goes to list 0, in its old order`() async throws {
    try await QueueUnderTest.with { queue in
      try await queue.fill(4, 0..<10)
      let worker = try queue.worker { $0.envelopes = 5 }
      _ = try await worker.putBack(worker.batch())
      #expect(try await queue.pending() == Array(0..<5))
      let state = try await queue.state()
      #expect(state.lists[4] == 5)
      #expect(state.pending == 10)
      #expect(state.oldestReceivedAt == EnvelopeHeader.numbered(0).receivedAt)
    }
  }
}
