// Writes rows into SQLite through its C interface. GRDB opens the file, migrates its schema and ends transactions. But
// for each row GRDB would make an array of values and copy the body twice. Here SQLite reads a row's texts from one
// scratch buffer, and its body in place.

internal import Foundation
internal import GRDB
internal import GRDBSQLite
internal import IngestQueue

struct SQLiteStore: BlockingStore {
  let database: DatabaseQueue
  let waiter: SQLiteWaiter

  private static let insertion = """
    INSERT INTO payloads (id, account, key_id, received_at, content_type, content_encoding, undone, path, node,
      traceparent, body, stored_at)
    VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)
    ON CONFLICT (id) DO NOTHING
    """

  mutating func store(_ deliveries: [Delivery], _ patience: CancellationCheck) throws(SinkFailure) -> [SinkOutcome] {
    waiter.wait(patience)
    defer { waiter.wait(nil) }
    let now = Int64(Date().timeIntervalSince1970 * 1_000)
    do {
      return try database.write { db in
        let statement = try db.cachedStatement(sql: Self.insertion).sqliteStatement
        guard let connection = db.sqliteConnection else { throw SinkFailure("the file is closed") }
        var row = SQLiteRow(connection: connection, statement: statement)
        return try deliveries.map { delivery in
          let outcome = try row.insert(delivery, now: now)
          // A user's trigger can roll back the whole transaction. Then the following rows would be stored one by one,
          // or not at all.
          guard sqlite3_get_autocommit(connection) == 0 else {
            throw SinkFailure("the transaction was rolled back (by a trigger?): \(outcome)", cause: .perhapsPayload)
          }
          return outcome
        }
      }
    } catch {
      throw Self.failure(error, "a batch of \(deliveries.count) was not stored")
    }
  }

  mutating func close() throws(SinkFailure) {
    do {
      try database.close()
    } catch {
      throw Self.failure(error, "can't close")
    }
  }

  static func failure(_ error: any Error, _ what: String) -> SinkFailure {
    switch error {
    case let error as SinkFailure: error
    // Error text without the statement and its arguments, which GRDB's own description may contain.
    case let error as DatabaseError:
      SinkFailure("\(what): \(SQLiteRow.words(error.extendedResultCode.rawValue, error.message))")
    case is CancellationError: SinkFailure("\(what): it was cancelled")
    default: SinkFailure("\(what): \(error)")
    }
  }
}

/// Inserts one row after another with one statement.
private struct SQLiteRow {
  let connection: SQLiteConnection
  let statement: SQLiteStatement
  /// The texts of the current row, adjacent in one buffer.
  private var texts: [UInt8] = []
  private var places: [(column: Int32, range: Range<Int>)] = []

  init(connection: SQLiteConnection, statement: SQLiteStatement) {
    self.connection = connection
    self.statement = statement
  }

  mutating func insert(_ delivery: Delivery, now: Int64) throws -> SinkOutcome {
    let header = delivery.header
    texts.removeAll(keepingCapacity: true)
    places.removeAll(keepingCapacity: true)
    header.id.withText { texts.append(contentsOf: $0) }
    places.append((1, 0..<texts.count))
    add(header.account, 2)
    add(header.key, 3)
    add(header.contentType, 5)
    add(header.contentEncoding, 6)
    add(delivery.body.undone, 7)
    add(header.path, 8)
    add(header.node, 9)
    add(header.traceparent, 10)
    let statement = statement
    // The bound values are valid inside the two closures, and the statement is reset before both end.
    let result = texts.withUnsafeBufferPointer { texts in
      delivery.body.bytes.withUnsafeBytes { body in
        defer {
          sqlite3_reset(statement)
          sqlite3_clear_bindings(statement)
        }
        for (column, range) in places {
          let text = UnsafeRawPointer(texts.baseAddress! + range.lowerBound).assumingMemoryBound(to: CChar.self)
          let code = sqlite3_bind_text(statement, column, text, Int32(range.count), nil)
          guard code == SQLITE_OK else { return outcome(code) }
        }
        // An empty blob isn't NULL, so it needs a pointer.
        let code =
          body.isEmpty
          ? sqlite3_bind_zeroblob(statement, 11, 0)
          : sqlite3_bind_blob64(statement, 11, body.baseAddress, sqlite3_uint64(body.count), nil)
        guard code == SQLITE_OK else { return outcome(code) }
        sqlite3_bind_int64(statement, 4, header.receivedAt)
        sqlite3_bind_int64(statement, 12, now)
        return outcome(sqlite3_step(statement))
      }
    }
    return try result.get()
  }

  private mutating func add(_ text: String?, _ column: Int32) {
    guard let text else { return }
    let start = texts.count
    texts.append(contentsOf: text.utf8)
    places.append((column, start..<texts.count))
  }

  private func outcome(_ code: Int32) -> Result<SinkOutcome, SinkFailure> {
    guard code != SQLITE_DONE else {
      return .success(sqlite3_changes(connection) == 0 ? .duplicate : .stored)
    }
    let extended = sqlite3_extended_errcode(connection)
    let words = Self.words(extended, sqlite3_errmsg(connection).map { String(cString: $0) })
    switch code & 0xFF {
    // These errors are about this row only. SQLite has undone the statement, and the transaction continues.
    case SQLITE_TOOBIG, SQLITE_CONSTRAINT, SQLITE_MISMATCH: return .success(.failed(reason: words, retryable: false))
    case SQLITE_FULL: return .failure(SinkFailure("a row was not stored: \(words)", cause: .noRoom))
    // Errors of a user's trigger or SQL function, or of a table with other columns.
    case SQLITE_ERROR, SQLITE_ABORT, SQLITE_NOMEM, SQLITE_AUTH, SQLITE_RANGE:
      return .failure(SinkFailure("a row was not stored: \(words)", cause: .perhapsPayload))
    default: return .failure(SinkFailure("a row was not stored: \(words)"))
    }
  }

  static func words(_ code: Int32, _ message: String?) -> String {
    "SQLite error \(code): \(message ?? "no message")"
  }
}
