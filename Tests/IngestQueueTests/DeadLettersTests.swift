import Hiredis
import IngestQueue
import RedisClient
import RedisFixture
import Testing

struct DeadLettersTests {
  @Test func `dead letters are read newest first, and go back oldest first behind what waits`() async throws {
    try await QueueUnderTest.with { queue in
      try await queue.push(0..<250)
      let worker = try queue.worker { $0.envelopes = 250 }
      let batch = try await worker.batch()
      for place in 0..<250 {
        // One claim, so the last of the batch is buried first.
        #expect(batch.entries[place].failures == 0)
      }
      _ = try await worker.settle(batch, Array(repeating: .dead(reason: "by the test"), count: 250))
      try await queue.push([1_000])
      let letters = DeadLetters(client: queue.client)
      #expect(try await letters.newest(2).map { try Envelope($0.get().element).header.number } == [0, 1])
      #expect(try await letters.requeueOldest(240) == 240)
      #expect(try await queue.pending() == [1_000] + (10..<250).reversed())
      #expect(try await letters.requeueOldest(100) == 10)
      #expect(try await queue.state().dead == 0)
      #expect(try await queue.pending().count == 251)
    }
  }

  @Test func `an element that is no dead letter is said to be none and stays`() async throws {
    try await QueueUnderTest.with { queue in
      _ = try await queue.send("LPUSH", queue.layout.dead, "by hand", "by hand\n")
      let letters = DeadLetters(client: queue.client)
      for letter in try await letters.newest(10) {
        #expect(throws: InvalidEnvelope.self) { try letter.get() }
      }
      #expect(try await letters.requeueOldest(10) == 0)
      #expect(try await queue.state().dead == 2)
    }
  }
}
