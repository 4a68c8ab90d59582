import Foundation
import IngestQueue
import QueueFixture
import RedisFixture
import Testing

@testable import IngestWorker

struct PostgresSinkTests {
  private func delivery(_ number: Int) -> Delivery {
    Delivery(header: .numbered(number), body: DecodedBody(bytes: [1, 2, 3], undone: nil))
  }

  private func sink(
    _ server: PostgresServer, _ query: String = "", deadline: Duration = .seconds(30)
  ) throws -> PostgresSink {
    PostgresSink(try PostgresAddress(server.address + query), deadline: deadline)
  }

  private func failure(_ sink: PostgresSink, _ deliveries: [Delivery]) async -> String {
    do throws(SinkFailure) {
      return "no failure, but \(try await sink.store(deliveries))"
    } catch {
      return "\(error)"
    }
  }

  @Test func `a table of any name in a schema is made once, whoever comes first`() async throws {
    let server = try await PostgresServer.start()
    try await server.query("CREATE SCHEMA ingest")
    try await withThrowingTaskGroup { group in
      for number in 0..<6 {
        group.addTask {
          let sink = try sink(server, "?table=ingest.Events")
          #expect(try await sink.store([delivery(number)]) == [.stored])
          try await sink.close()
        }
      }
      try await group.waitForAll()
    }
    #expect(try await server.query("SELECT count(*) FROM ingest.\"Events\"") == [["6"]])
    let comment = try await server.query("SELECT obj_description('ingest.\"Events\"'::regclass, 'pg_class')")
    #expect(comment == [["payloads stored by Sluice, version 1"]])
  }

  @Test func `a server or a table that doesn't outlive a crash is refused`() async throws {
    let server = try await PostgresServer.start(["fsync = off"])
    #expect(await failure(try sink(server), [delivery(1)]).contains("fsync = off"))
    try await server.query("ALTER SYSTEM SET fsync = on")
    try await server.query("SELECT pg_reload_conf()")
    let sink = try sink(server)
    try await eventually("it is taken") { try await sink.store([delivery(1)]) == [.stored] }
    try await sink.close()
    try await server.query("ALTER TABLE payloads SET UNLOGGED")
    #expect(await failure(try self.sink(server), [delivery(1)]).contains("UNLOGGED"))
  }

  @Test func `where commits aren't waited for by default, this sink's are`() async throws {
    let server = try await PostgresServer.start(["synchronous_commit = off"])
    let sink = try sink(server)
    #expect(try await sink.store([delivery(1)]) == [.stored])
    try await server.query(
      """
      CREATE FUNCTION tell() RETURNS trigger LANGUAGE plpgsql AS
        $$ BEGIN NEW.node := current_setting('synchronous_commit'); RETURN NEW; END $$;
      CREATE TRIGGER tell BEFORE INSERT ON payloads FOR EACH ROW EXECUTE FUNCTION tell();
      """)
    #expect(try await sink.store([delivery(2)]) == [.stored])
    #expect(try await server.query("SELECT node FROM payloads ORDER BY received_at") == [["node-1"], ["on"]])
    try await sink.close()
  }

  @Test func `what a newer build has made of the table is refused, and somebody's own table is used`() async throws {
    let server = try await PostgresServer.start()
    let sink = try sink(server)
    #expect(try await sink.store([delivery(1)]) == [.stored])
    try await sink.close()
    try await server.query("COMMENT ON TABLE payloads IS 'payloads stored by Sluice, version 2'")
    #expect(await failure(try self.sink(server), [delivery(2)]).contains("newer ingest-worker"))
    try await server.query(
      "COMMENT ON TABLE payloads IS 'ours'; ALTER TABLE payloads ADD COLUMN tenant text DEFAULT 'x'")
    let later = try self.sink(server)
    #expect(try await later.store([delivery(2)]) == [.stored])
    try await server.query("ALTER TABLE payloads DROP COLUMN node")
    #expect(await failure(later, [delivery(3)]).contains("42703"))
    try await later.close()
  }

  @Test func `what no text of PostgreSQL's can hold fails alone, and so does what a trigger refuses`() async throws {
    let server = try await PostgresServer.start()
    let sink = try sink(server)
    var nul = EnvelopeHeader.numbered(2)
    nul.contentType = "a\u{0}b"
    var late = EnvelopeHeader.numbered(3)
    late.receivedAt = .max
    let bad = [nul, late].map { Delivery(header: $0, body: DecodedBody(bytes: [1], undone: nil)) }
    let outcomes = try await sink.store([delivery(1)] + bad + [delivery(4)])
    #expect(outcomes[0] == .stored && outcomes[3] == .stored)
    guard case .failed(let first, false) = outcomes[1], case .failed(let second, false) = outcomes[2] else {
      Issue.record("\(outcomes)")
      return
    }
    #expect(first.contains("content_type contains a NUL") && second.contains("out of PostgreSQL's range"))
    try await server.query(
      """
      CREATE FUNCTION refuse() RETURNS trigger LANGUAGE plpgsql AS
        $$ BEGIN IF NEW.id::text LIKE '%\(delivery(6).header.id)%' THEN RAISE 'not this one'; END IF; RETURN NEW; END $$;
      CREATE TRIGGER refuse BEFORE INSERT ON payloads FOR EACH ROW EXECUTE FUNCTION refuse();
      """)
    let later = try await sink.store((5...9).map { delivery($0) })
    #expect(later[1] == .failed(reason: "PostgreSQL's error P0001, not this one", retryable: false))
    #expect(later.count { $0 == .stored } == 4)
    try await sink.close()
  }

  @Test func `a wrong password is said, and isn't shown`() async throws {
    let server = try await PostgresServer.start()
    let address = "postgres://sluice:s3cret@127.0.0.1:\(server.port)/postgres"
    let sink = PostgresSink(try PostgresAddress(address))
    let words = await failure(sink, [delivery(1)])
    #expect(words.contains("password authentication failed"), "\(words)")
    #expect(!words.contains("s3cret") && !sink.name.contains("s3cret"))
    try await sink.close()
  }

  @Test func `a statement has its time, and nothing of it is left at the server`() async throws {
    let place = PostgresPlace(try await PostgresServer.start())
    let sink = try sink(place.server, deadline: .milliseconds(800))
    #expect(try await sink.store([delivery(1)]) == [.stored])
    try await place.hold()
    for _ in 0..<3 {
      let words = await failure(sink, [delivery(2)])
      #expect(words.contains("57014") || words.contains("didn't answer"), "\(words)")
    }
    let waiting = "SELECT count(*) FROM pg_stat_activity WHERE application_name = 'ingest-worker' AND state = 'active'"
    try await eventually("nobody waits at the server") { try await place.server.query(waiting) == [["0"]] }
    try await place.release()
    #expect(try await sink.store([delivery(2)]) == [.stored])
    try await sink.close()
  }

  @Test
  func `a table that was dropped is made again, and a server that was restarted is found again without a failure`()
    async throws
  {
    let server = try await PostgresServer.start()
    let sink = try sink(server)
    #expect(try await sink.store([delivery(1)]) == [.stored])
    try await server.query("DROP TABLE payloads")
    #expect(await failure(sink, [delivery(2)]).contains("42P01"))
    #expect(try await sink.store([delivery(2)]) == [.stored])
    try await server.stop()
    try await server.restart()
    // The old connection's end is seen before anything is sent on it.
    #expect(try await sink.store([delivery(3)]) == [.stored])
    try await sink.close()
  }
}
