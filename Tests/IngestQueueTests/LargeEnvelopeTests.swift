import Hiredis
import IngestQueue
import QueueFixture
import RedisClient
import RedisFixture
import Testing

/// Redis can't serve other clients while it moves a large envelope. So a script moves only the large envelopes that its
/// claim takes, and only a few in one run.
struct LargeEnvelopeTests {
  private let large = 2 << 20

  @Test func `a list whose envelopes are too large for a claim isn't touched by it`() async throws {
    try await QueueUnderTest.with { queue in
      try await beginCounting(queue)
      for list in [3, 9] { try await queue.fillCounted(list, 100 * list..<100 * list + 5, size: large) }
      for list in [0, 5, 12, 16] {
        try await queue.fillCounted(list, 10_000 * (list + 1)..<10_000 * (list + 1) + 500, size: 50)
      }
      let worker = try queue.worker {
        $0.bytes = 1 << 20
        $0.envelopes = 100
      }
      var (claims, moves) = (0, [Int]())
      while case .batch(let batch) = try await worker.claim(slot: 0, takesSuspects: true) {
        let large = try batch.entries.filter { try $0.content.get().payload.count == self.large }
        #expect(large.count <= 1 && (large.isEmpty || batch.entries.count == 1))
        claims += 1
        moves.append(try await self.moves(queue) - batch.entries.count)
        _ = try await worker.acknowledge(batch)
      }
      #expect(moves == Array(repeating: 0, count: claims), "moved in vain")
      #expect(try await queue.state().done == 2_010)
    }
  }

  @Test func `a large envelope that is met among small ones is moved in vain once`() async throws {
    try await QueueUnderTest.with { queue in
      try await beginCounting(queue)
      for list in [3, 9] {
        try await queue.fillCounted(list, 1_000 * list..<1_000 * list + 90, size: 50)
        try await queue.fillCounted(list, [1_000 * list + 90], size: large)
        try await queue.fillCounted(list, 1_000 * list + 91..<1_000 * list + 200, size: 50)
      }
      try await queue.fillCounted(0, 20_000..<23_000, size: 50)
      let worker = try queue.worker {
        $0.bytes = 1 << 20
        $0.envelopes = 100
      }
      var inVain: [Int] = []
      while case .batch(let batch) = try await worker.claim(slot: 0, takesSuspects: true) {
        inVain.append(try await moves(queue) - batch.entries.count)
        _ = try await worker.acknowledge(batch)
      }
      // There and back.
      #expect(inVain.filter { $0 > 0 } == [2, 2], "\(inVain)")
      #expect(try await queue.state().done == 3_400)
    }
  }

  @Test func `large envelopes have 8 MiB of a claim, however much it may take`() async throws {
    try await QueueUnderTest.with { queue in
      try await beginCounting(queue)
      try await queue.fillCounted(3, 0..<5, size: 3 << 20)
      let worker = try queue.worker { $0.bytes = 64 << 20 }
      for numbers in [[0, 1], [2, 3], [4]] {
        let batch = try await worker.batch()
        #expect(try batch.numbers == numbers)
        _ = try await worker.acknowledge(batch)
      }
    }
  }

  @Test func `a size that isn't true any more keeps nobody waiting for long`() async throws {
    try await QueueUnderTest.with { queue in
      try await beginCounting(queue)
      try await queue.fillCounted(3, 0..<10, size: 50)
      try await queue.fillCounted(9, 1_000..<5_000, size: 50)
      _ = try await queue.send("HSET", queue.layout.bytes, "next:3", 16 << 20, "3", 1 << 30)
      let worker = try queue.worker {
        $0.bytes = 1 << 20
        $0.envelopes = 20
      }
      var (claims, missing) = (0, Set(0..<10))
      while !missing.isEmpty, claims < 20 {
        let batch = try await worker.batch()
        missing.subtract(try batch.numbers)
        claims += 1
        _ = try await worker.acknowledge(batch)
      }
      #expect(missing.isEmpty, "each list begins once in \(QueueLayout.lists - 1) claims")
    }
  }

  @Test func `large envelopes of dead workers are put back in several steps`() async throws {
    try await QueueUnderTest.with { queue in
      try await beginCounting(queue)
      try await queue.fillCounted(3, 0..<4, size: 5 << 20)
      let dead = try queue.worker("dead") {
        $0.lease = .milliseconds(10)
        $0.bytes = 1 << 20
      }
      for slot in 0..<4 { #expect(try await dead.batch(slot: slot).entries.count == 1) }
      let reaper = try queue.worker("reaper")
      #expect(try await reaper.reapSomething().putBack <= 2)
      while try await queue.state().claimed > 0 { #expect(try await reaper.reap().putBack <= 2) }
      let kept = try await queue.send("HGET", queue.layout.bytes, "\(QueueLayout.suspects)").string()
      #expect(Int64(kept) == (try await queue.bytes(of: queue.layout.pending(QueueLayout.suspects))))
      #expect(try await queue.pending(QueueLayout.suspects).sorted() == Array(0..<4))
    }
  }

  @Test func `large envelopes that fail come back at a rate that leaves Redis time for others`() async throws {
    try await QueueUnderTest.with { queue in
      try await beginCounting(queue)
      try await queue.fillCounted(3, 0..<4, size: large)
      try await queue.fillCounted(9, 100..<104, size: 50)
      let worker = try queue.worker { $0.bytes = 64 << 20 }
      var failed = 0
      while case .batch(let batch) = try await worker.claim(slot: 0, takesSuspects: true) {
        failed += batch.entries.count
        let fates = batch.entries.map { _ in Disposition.retry(reason: "a test", delay: .milliseconds(600)) }
        #expect(try await worker.settle(batch, fates) == .settled(dead: 0))
      }
      #expect(failed == 8)
      let now = Double(try await queue.send("TIME").array().first?.string() ?? "")
      let begin = try #require(now) * 1_000
      let scores = try await queue.send("ZRANGE", queue.layout.later, 0, -1, "WITHSCORES").array()
      var due: (small: [Double], large: [Double]) = ([], [])
      for place in stride(from: 0, to: scores.count, by: 2) {
        let score = try #require(Double(try scores[place + 1].string()))
        if try scores[place].bytes().count > large { due.large.append(score) } else { due.small.append(score) }
      }
      #expect(due.small.count == 4 && due.large.count == 4)
      #expect(due.small.allSatisfy { $0 < begin + 2_000 }, "small ones come back when they should")
      // 2 MiB each, at 2 MiB a second.
      for (former, next) in zip(due.large, due.large.dropFirst()) { #expect((900...1_200).contains(next - former)) }
    }
  }

  /// A claim of nothing: from then on bytes are counted.
  private func beginCounting(_ queue: QueueUnderTest) async throws {
    #expect(try await queue.worker("first").claimsNothing())
  }

  /// How often Redis moved an envelope from list to list since this was asked last.
  private func moves(_ queue: QueueUnderTest) async throws -> Int {
    let stats = String(decoding: try await queue.send("INFO", "commandstats").bytes(), as: UTF8.self)
    _ = try await queue.send("CONFIG", "RESETSTAT")
    return stats.firstMatch(of: /cmdstat_lmove:calls=(\d+)/).flatMap { Int($0.1) } ?? 0
  }
}

extension QueueUnderTest {
  /// As ``fill(_:_:payload:)``, and counts the bytes as a node does.
  fileprivate func fillCounted(_ list: Int, _ numbers: some Sequence<Int>, size: Int) async throws {
    let numbers = Array(numbers)
    let payload = [UInt8](repeating: 7, count: size)
    // One by one where they are large, since one write has all of a thousand.
    for start in stride(from: 0, to: numbers.count, by: size > 1_000 ? 1 : 1_000) {
      let part = numbers[start..<min(start + (size > 1_000 ? 1 : 1_000), numbers.count)]
      try await fill(list, part, payload: payload)
      let bytes = part.reduce(0) { $0 + EnvelopeHeader.numbered($1).encoded.count + size }
      _ = try await send("HINCRBY", layout.bytes, list, bytes)
    }
  }
}
