// The spool on disk: one SQLite file with a row for each payload, as it goes to the queue. SQLite, because what is needed is what it does: many
// payloads under one fsync, rows that vanish from the front, room that is used again, and a file that is whole after any crash. Rejected: a log
// of our own, whose segments, checksums and recovery would have to be proven anew.
//
// A rollback journal and not WAL, though it costs some more fsyncs: what is in a WAL has to be copied into the file before its room can be used
// again, so a spool that has filled its own disk couldn't even be drained. Here rows are taken out in place. That needs a few pages of journal: it
// is kept from transaction to transaction (PERSIST), and has been that long from the start, see `reserve`. synchronous=FULL, because anything
// less may lose the last transactions in a power cut, and they were acknowledged.
//
// It is used by one thread at a time, `Spool`'s.

internal import Foundation
internal import GRDB
internal import NIOCore
internal import PrivateFiles

/// A payload in the file.
struct SpooledPayload: Sendable {
  /// Of its row: in the order in which payloads came, and never used again.
  let number: Int64
  /// The element of the queue: the line of JSON, and the payload.
  let element: [UInt8]
}

/// How much is in the file.
struct SpoolContents: Sendable, Equatable {
  var entries = 0
  var bytes = 0
  /// When the oldest was put there, in milliseconds since 1970.
  var oldestAt: Int64?
}

final class SpoolFile: Sendable {
  private let database: DatabaseQueue
  /// Held as long as the file is open.
  private let lock: SpoolLock
  let path: String

  private static let version = 1
  private static let schema = """
    CREATE TABLE payloads (
      number INTEGER PRIMARY KEY AUTOINCREMENT,
      spooled_at INTEGER NOT NULL,
      envelope BLOB NOT NULL
    ) STRICT;
    CREATE TABLE reserve (page INTEGER PRIMARY KEY, filler BLOB NOT NULL) STRICT;
    WITH RECURSIVE pages(page) AS (SELECT 1 UNION ALL SELECT page + 1 FROM pages WHERE page < 64)
      INSERT INTO reserve SELECT page, zeroblob(4000) FROM pages
    """

  /// Opens the file in this folder, or makes both. All of it is looked at: what is damaged is said now.
  init(folder: String) throws(UnusableSpool) {
    path = "\(folder)/spool.sqlite"
    do throws(UnusablePath) {
      try PrivateFolder.make(folder, makesParents: true)
    } catch {
      throw UnusableSpool("could not make the folder \(folder): \(error)")
    }
    lock = try SpoolLock(folder: folder)
    do throws(UnusablePath) {
      try PrivateFile.prepareDatabase(path)
    } catch {
      throw UnusableSpool("could not open the spool: \(error)")
    }
    do {
      database = try DatabaseQueue(path: path, configuration: Self.configuration)
      try database.writeWithoutTransaction { try Self.check($0) }
      let isNew = try database.write { db in
        guard try Int.fetchOne(db, sql: "PRAGMA user_version") == 0 else { return false }
        try db.execute(sql: Self.schema)
        try db.execute(sql: "PRAGMA user_version = \(Self.version)")
        return true
      }
      // Makes the journal as long as taking out one payload needs, while there is room for that: at the first time, and after an interrupted
      // transaction, which costs it. Then a little less, so that it fits where it is that long. What doesn't change isn't written.
      try database.write {
        try $0.execute(
          sql: "UPDATE reserve SET filler = randomblob(4000) WHERE page <= ?", arguments: [isNew ? 64 : 56])
      }
    } catch let error as UnusableSpool {
      throw error
    } catch let error as DatabaseError where [.SQLITE_CORRUPT, .SQLITE_NOTADB].contains(error.resultCode) {
      throw Self.damaged(path, Self.words(error))
    } catch {
      throw UnusableSpool("could not open the spool \(path): \(Self.words(error))")
    }
    do throws(UnusablePath) { try PrivateFolder.sync(folder) } catch { throw UnusableSpool("\(error)") }
  }

  private static func damaged(_ path: String, _ words: String) -> UnusableSpool {
    UnusableSpool(
      "the spool \(path) is damaged: \(words). It may hold payloads that were acknowledged, so it is left as it is: keep a copy of the folder, "
        + "get out what can be read (sqlite3 FILE .recover), and start again when the file is repaired or moved away")
  }

  private static var configuration: Configuration {
    var configuration = Configuration()
    configuration.label = "spool"
    configuration.prepareDatabase { db in
      try db.execute(sql: "PRAGMA locking_mode = EXCLUSIVE")
      let journal = try String.fetchOne(db, sql: "PRAGMA journal_mode = PERSIST")
      try db.execute(sql: "PRAGMA synchronous = FULL")
      // Debian's SQLite writes zeros over what is deleted, for which it needs as much journal.
      try db.execute(sql: "PRAGMA secure_delete = FAST")
      // Read back: a spool that only believes to be safe is worse than none.
      let level = try Int.fetchOne(db, sql: "PRAGMA synchronous")
      guard journal == "persist", level == 2 else {
        throw UnusableSpool(
          "SQLite didn't take a journal that persists with synchronous = FULL: it has \(journal ?? "nothing") with level \(level ?? -1)"
        )
      }
    }
    return configuration
  }

  private static func check(_ db: Database) throws {
    let found = try String.fetchAll(db, sql: "PRAGMA quick_check(3)")
    guard found == ["ok"] else {
      throw DatabaseError(resultCode: .SQLITE_CORRUPT, message: found.joined(separator: "; "))
    }
    let version = try Int.fetchOne(db, sql: "PRAGMA user_version") ?? 0
    guard version <= Self.version else {
      throw UnusableSpool(
        "the spool was written by a newer build: its version is \(version), this one reads \(Self.version)")
    }
  }

  // MARK: What is done with it

  func contents() throws(SpoolFailure) -> SpoolContents {
    try attempt {
      try database.read { db in
        let row = try Row.fetchOne(db, sql: "SELECT count(*), sum(length(envelope)) FROM payloads")
        return SpoolContents(entries: row?[0] ?? 0, bytes: row?[1] ?? 0, oldestAt: try Self.oldestAt(db))
      }
    }
  }

  /// Puts payloads behind those that are there, all or none; on disk when it returns.
  func append(_ elements: [ByteBuffer], at time: Int64) throws(SpoolFailure) {
    try attempt {
      try database.write { db in
        let statement = try db.cachedStatement(sql: "INSERT INTO payloads (spooled_at, envelope) VALUES (?, ?)")
        for element in elements {
          try statement.execute(arguments: [time, element.withUnsafeReadableBytes { Data($0) }])
        }
      }
    }
  }

  /// The oldest payloads, in their order: at most so many, and at most so many bytes, but for one by itself.
  /// - Parameter except: Rows to pass over.
  func oldest(entries: Int, bytes: Int, except: Set<Int64>) throws(SpoolFailure) -> [SpooledPayload] {
    try attempt {
      try database.read { db in
        var found: [SpooledPayload] = []
        var size = 0
        let rows = try Row.fetchCursor(db, sql: "SELECT number, envelope FROM payloads ORDER BY number")
        while found.count < entries, let row = try rows.next() {
          let number: Int64 = row[0]
          if except.contains(number) { continue }
          let envelope: Data = row[1]
          if !found.isEmpty, size + envelope.count > bytes { break }
          size += envelope.count
          found.append(SpooledPayload(number: number, element: [UInt8](envelope)))
        }
        return found
      }
    }
  }

  /// Takes payloads out.
  /// - Returns: When the oldest of the others was put there.
  func remove(_ numbers: [Int64]) throws(SpoolFailure) -> Int64? {
    do throws(SpoolFailure) {
      return try removeTogether(numbers)
    } catch .noRoom {
      // One by one they need little journal, and each makes room. Taking out again what is gone does nothing.
      var oldestAt: Int64?
      for number in numbers { oldestAt = try removeTogether([number]) }
      return oldestAt
    }
  }

  private func removeTogether(_ numbers: [Int64]) throws(SpoolFailure) -> Int64? {
    try attempt {
      try database.write { db in
        let statement = try db.cachedStatement(sql: "DELETE FROM payloads WHERE number = ?")
        for number in numbers { try statement.execute(arguments: [number]) }
        return try Self.oldestAt(db)
      }
    }
  }

  /// Nothing may be done with it after that.
  func end() throws(SpoolFailure) {
    defer { lock.release() }
    try attempt { try database.close() }
  }

  private static func oldestAt(_ db: Database) throws -> Int64? {
    try Int64.fetchOne(db, sql: "SELECT spooled_at FROM payloads ORDER BY number LIMIT 1")
  }

  private func attempt<Value>(_ body: () throws -> Value) throws(SpoolFailure) -> Value {
    do {
      return try body()
    } catch let error as DatabaseError {
      switch error.resultCode {
      case .SQLITE_FULL: throw .noRoom(Self.words(error))
      case .SQLITE_CORRUPT, .SQLITE_NOTADB: throw .damaged(Self.words(error))
      default: throw .failed(Self.words(error))
      }
    } catch {
      throw .failed("\(error)")
    }
  }

  /// Without the statement and its arguments, which GRDB's own description may hold.
  private static func words(_ error: any Error) -> String {
    guard let error = error as? DatabaseError else { return "\(error)" }
    return "SQLite's error \(error.extendedResultCode.rawValue), \(error.message ?? "without words")"
  }
}
