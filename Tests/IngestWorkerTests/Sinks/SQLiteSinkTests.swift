import Foundation
import GRDB
import IngestQueue
import QueueFixture
import RedisFixture
import Testing

@testable import IngestWorker

struct SQLiteSinkTests {
  private func delivery(_ number: Int, _ bytes: [UInt8] = [1, 2, 3], undone: String? = nil) -> Delivery {
    Delivery(header: .numbered(number), body: DecodedBody(bytes: bytes[...], undone: undone))
  }

  @Test func `what is stored is what was delivered, in every column`() async throws {
    let folder = try TemporaryFolder()
    let path = folder.path("sink.db")
    let sink = try SQLiteSink(path: path)
    var generator = SeededGenerator.announced()
    let random = (0..<(10 << 20)).map { _ in UInt8(truncatingIfNeeded: generator.next()) }
    var header = EnvelopeHeader.numbered(7)
    header.contentEncoding = "gzip"
    header.traceparent = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"
    let before = Date().timeIntervalSince1970 * 1_000
    let outcomes = try await sink.store([
      Delivery(header: header, body: DecodedBody(bytes: random[...], undone: "gzip")), delivery(8, []),
    ])
    #expect(outcomes == [.stored, .stored])
    let rows = try await Stored.rows(path)
    #expect(rows.count == 2)
    let row = try #require(rows.first { $0.id == header.id.description })
    #expect(row.account == header.account)
    #expect(row.keyID == header.key)
    #expect(row.receivedAt == header.receivedAt)
    #expect(row.contentType == header.contentType)
    #expect(row.contentEncoding == "gzip")
    #expect(row.undone == "gzip")
    #expect(row.path == header.path)
    #expect(row.node == header.node)
    #expect(row.traceparent == header.traceparent)
    #expect(row.body == random)
    let storedAt = try await Stored.read(path) { try Int64.fetchOne($0, sql: "SELECT min(stored_at) FROM payloads") }
    #expect(try #require(storedAt) >= Int64(before))
    let empty = try #require(rows.first { $0.id == EnvelopeHeader.numbered(8).id.description })
    #expect(empty.body == [])
    #expect(empty.contentEncoding == nil)
    try await sink.close()
  }

  @Test func `an envelope that comes again is a duplicate and changes nothing`() async throws {
    let folder = try TemporaryFolder()
    let path = folder.path("sink.db")
    let sink = try SQLiteSink(path: path)
    #expect(try await sink.store([delivery(1), delivery(2), delivery(1, [9])]) == [.stored, .stored, .duplicate])
    #expect(try await sink.store([delivery(2, [9]), delivery(3)]) == [.duplicate, .stored])
    #expect(try await Stored.rows(path).allSatisfy { $0.body == [1, 2, 3] })
  }

  @Test func `it is safe against a power cut as far as SQLite can be`() async throws {
    let folder = try TemporaryFolder()
    let path = folder.path("sink.db")
    let sink = try SQLiteSink(path: path)
    #expect(try await sink.database.read { try String.fetchOne($0, sql: "PRAGMA journal_mode") } == "wal")
    #expect(try await sink.database.read { try Int.fetchOne($0, sql: "PRAGMA synchronous") } == 2)
  }

  @Test func `while another holds the lock the batch fails as a whole, and succeeds afterwards`() async throws {
    let folder = try TemporaryFolder()
    let path = folder.path("sink.db")
    let sink = try SQLiteSink(path: path, busyTimeout: .milliseconds(50))
    let lock = try SinkLock(path)
    let error = await #expect(throws: SinkFailure.self) { try await sink.store([delivery(1), delivery(2)]) }
    #expect(error?.description.contains("locked") == true, "\(String(describing: error))")
    try lock.release()
    #expect(try await Stored.rows(path).isEmpty)
    #expect(try await sink.store([delivery(1), delivery(2)]) == [.stored, .stored])
  }

  @Test func `a sink that waits for a lock ends soon when it is cancelled`() async throws {
    let folder = try TemporaryFolder()
    let path = folder.path("sink.db")
    let sink = try SQLiteSink(path: path, busyTimeout: .seconds(60))
    let lock = try SinkLock(path)
    let storing = Task { try await sink.store([delivery(1)]) }
    storing.cancel()
    await #expect(throws: SinkFailure.self) { try await storing.value }
    try lock.release()
  }

  private func limit(_ sink: SQLiteSink, toPages pages: Int) async throws {
    _ = try await sink.database.write { try Int.fetchOne($0, sql: "PRAGMA max_page_count = \(pages)") }
  }

  @Test func `a full disk fails the batch as a whole, and nothing of it is stored`() async throws {
    let folder = try TemporaryFolder()
    let path = folder.path("sink.db")
    let sink = try SQLiteSink(path: path)
    _ = try await sink.store([delivery(0)])
    // SQLite's own limit on the file gives the same error as a full disk.
    try await limit(sink, toPages: 8)
    let large = [UInt8](repeating: 1, count: 100_000)
    let error = await #expect(throws: SinkFailure.self) { try await sink.store([delivery(1), delivery(2, large)]) }
    #expect(error?.description.contains("full") == true, "\(String(describing: error))")
    #expect(try await Stored.rows(path).count == 1)
    try await limit(sink, toPages: 1_000)
    #expect(try await sink.store([delivery(1), delivery(2, large)]) == [.stored, .stored])
  }

  @Test func `many may open one new file at one moment, and store into it`() async throws {
    let folder = try TemporaryFolder()
    let path = folder.path("sink.db")
    try await withThrowingTaskGroup { group in
      for number in 0..<6 {
        group.addTask {
          let sink = try SQLiteSink(path: path)
          for turn in 0..<5 { _ = try await sink.store([delivery(number * 5 + turn), delivery(1_000 + turn)]) }
          try await sink.close()
        }
      }
      try await group.waitForAll()
    }
    #expect(try await Stored.rows(path).count == 35)
  }

  @Test func `what a newer build has made of the table is refused`() async throws {
    let folder = try TemporaryFolder()
    let path = folder.path("sink.db")
    try await SQLiteSink(path: path).close()
    try await Stored.write(path) { try $0.execute(sql: "INSERT INTO grdb_migrations VALUES ('from the future')") }
    let error = #expect(throws: SinkFailure.self) { try SQLiteSink(path: path) }
    #expect(error?.description.contains("newer ingest-worker") == true)
  }

  @Test(arguments: ["/nowhere/at/all.db", "/tmp"])
  func `a file that can't be opened is said so`(path: String) {
    let error = #expect(throws: SinkFailure.self) { try SQLiteSink(path: path) }
    #expect(error?.description.contains(path) == true, "\(String(describing: error))")
  }
}
