// A database that can't take one row, in a way that makes the whole batch fail. The other rows must be stored, and the row must end as a dead
// letter.

import Foundation
import GRDB
import IngestQueue
import NIOCore
import QueueFixture
import RedisClient
import RedisFixture
import Synchronization
import Testing

@testable import IngestWorker

struct DislikedRowTests {
  private func rows(_ numbers: some Sequence<Int>, disliked: Set<Int>) -> [Delivery] {
    numbers.map { number in
      var header = EnvelopeHeader.numbered(number)
      if disliked.contains(number) { header.account = "disliked" }
      return Delivery(header: header, body: DecodedBody(bytes: [1], undone: nil))
    }
  }

  private func expectOthersStored(_ sink: any Sink, all: Int, disliked: Set<Int>) async throws {
    let deliveries = rows(0..<all, disliked: disliked)
    let outcomes = try await sink.store(deliveries)
    for (number, outcome) in outcomes.enumerated() {
      if disliked.contains(number) {
        guard case .failed(_, retryable: true) = outcome else {
          Issue.record("row \(number): \(outcome)")
          continue
        }
      } else {
        #expect(outcome == .stored, "row \(number)")
      }
    }
    // Alone, nobody can tell whether it is the row or the table.
    let alone = rows(disliked, disliked: disliked)
    do throws(SinkFailure) {
      let outcomes = try await sink.store(alone)
      for outcome in outcomes {
        switch outcome {
        case .postponed(let why): #expect(!why.isCounted)
        case .untried, .setAside: break
        case .stored, .duplicate, .failed: Issue.record("\(outcome)")
        }
      }
    } catch {
      #expect(error.description.contains("not this one"))
    }
    #expect(try await sink.store(rows(all..<(all + 1), disliked: [])) == [.stored])
    // Now it has stored another one.
    let again = try await sink.store(alone)
    #expect(again.contains { if case .failed(_, retryable: true) = $0 { true } else { false } }, "\(again)")
    #expect(!again.contains(.stored))
  }

  @Test(arguments: [[7], [0, 19], Array(stride(from: 0, to: 60, by: 3))])
  func `SQLite: a row whose trigger rolls everything back holds up no others`(disliked: [Int]) async throws {
    let folder = try TemporaryFolder()
    let sink = try SQLiteSink(path: folder.path("sink.db"))
    try await Stored.write(folder.path("sink.db")) { db in
      try db.execute(
        sql: """
          CREATE TRIGGER dislike BEFORE INSERT ON payloads WHEN NEW.account = 'disliked'
          BEGIN SELECT RAISE(ROLLBACK, 'not this one'); END
          """)
    }
    try await expectOthersStored(sink, all: 60, disliked: Set(disliked))
    #expect(try await Stored.count(folder.path("sink.db")) == 61 - disliked.count)
    try await sink.close()
  }

  @Test(arguments: ["42501", "XX000", "0A000"], [[7], [0, 19], Array(stride(from: 0, to: 60, by: 3))])
  func `PostgreSQL: a row whose trigger raises any error holds up no others`(state: String, disliked: [Int])
    async throws
  {
    let server = try await PostgresServer.start()
    let sink = PostgresSink(try PostgresAddress(server.address))
    #expect(try await sink.store(rows(1_000..<1_001, disliked: [])) == [.stored])
    try await server.query(
      """
      CREATE FUNCTION dislike() RETURNS trigger LANGUAGE plpgsql AS
      $$BEGIN IF NEW.account = 'disliked' THEN RAISE 'not this one' USING ERRCODE = '\(state)'; END IF; RETURN NEW; END$$;
      CREATE TRIGGER dislike BEFORE INSERT ON payloads FOR EACH ROW EXECUTE FUNCTION dislike()
      """)
    try await expectOthersStored(sink, all: 60, disliked: Set(disliked))
    try await sink.close()
  }

  @Test func `a worker stores the others, and the rows end as dead letters`() async throws {
    try await WorkBench.with { bench in
      let sink = try SQLiteSink(path: bench.path)
      try await Stored.write(bench.path) { db in
        try db.execute(
          sql: """
            CREATE TRIGGER dislike BEFORE INSERT ON payloads WHEN NEW.account = 'disliked'
            BEGIN SELECT RAISE(ROLLBACK, 'not this one'); END
            """)
      }
      let disliked = (0..<4).map { number in
        var header = EnvelopeHeader.numbered(100_000 + number)
        header.account = "disliked"
        return header
      }
      try await bench.push(disliked, payload: ByteBuffer(string: "payload"))
      let worker = try bench.worker(sink: sink) {
        $0.consumer.attempts = 3
        $0.consumer.envelopes = 2
        $0.retry = Backoff(first: .milliseconds(10), most: .milliseconds(20))
      }
      try await bench.running(worker) {
        var next = 0
        try await eventually(within: .seconds(60), "they are dead letters") {
          try await bench.push([next])
          next += 1
          return try await bench.state().dead == 4
        }
        try await bench.untilEmpty()
        #expect(try await Stored.count(bench.path) == next)
      }
    }
  }
}
