import IngestQueue
import RedisClient
import RedisFixture
import Testing

struct WorkerNameTests {
  @Test func `a name that could reach into other keys is none`() {
    for name in ["w", "worker-1.rack_2", String(repeating: "x", count: 64)] {
      #expect(WorkerName(name)?.description == name)
    }
    for name in ["", "a:b", "a b", "a{b", "a\"b", "ä", "a\n", String(repeating: "x", count: 65)] {
      #expect(WorkerName(name) == nil, "\(name)")
    }
  }

  @Test func `of two workers with one name the elder is told so and gets nothing more`() async throws {
    try await QueueUnderTest.with { queue in
      try await queue.push(0..<300)
      let elder = try queue.worker("same") { $0.envelopes = 100 }
      let batch = try await elder.batch()
      let younger = try queue.worker("same") { $0.envelopes = 100 }
      // The elder's slot is taken, another one is free.
      guard case .held(let holder) = try await younger.claim(slot: 0, takesSuspects: true) else {
        Issue.record("a live claim was taken from another instance")
        return
      }
      #expect(holder.instance == elder.instance)
      #expect(holder.description.contains("two workers have the same name"))
      _ = try await younger.batch(slot: 1)
      guard case .supplanted(let by) = try await elder.claim(slot: 2, takesSuspects: true) else {
        Issue.record("the elder was given envelopes")
        return
      }
      #expect(by == younger.instance)
      // It may finish the batches that it has claimed.
      #expect(try await elder.acknowledge(batch) == .settled(dead: 0))
      try await elder.leave()
      #expect(try await queue.state().workers.map(\.instance) == [younger.instance])
    }
  }

  @Test func `a worker that was restarted gets its earlier life's envelopes when that lease has ended`() async throws {
    try await QueueUnderTest.with { queue in
      try await queue.push(0..<3)
      let before = try queue.worker("same") { $0.lease = .milliseconds(50) }
      _ = try await before.batch()
      let after = try queue.worker("same")
      _ = try await after.reapSomething()
      #expect(try await after.batch(slot: 0).numbers == [0, 1, 2])
    }
  }
}
