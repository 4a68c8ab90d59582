// The spool on disk: one SQLite file with a row for each payload, in the queue's format. SQLite provides everything
// that the spool needs: one fsync for many payloads, rows that are removed from the front, reuse of free pages, and a
// file that is intact after any crash. Rejected: a log format of our own, whose segments, checksums and recovery would
// have to be proven correct.
//
// It uses a rollback journal and not WAL, although that costs some more fsyncs. Data in a WAL has to be copied into the
// file before its space can be used again, so a spool that has filled its disk couldn't even be drained. With a
// rollback journal, rows are deleted in place. That needs a few pages of journal: the journal is kept between
// transactions (PERSIST), and has its full length from the start, see `reserve`. synchronous=FULL, because a lower
// level may lose the last transactions in a power cut, and their payloads were acknowledged.
//
// The file is used by one thread at a time, that of `Spool`.

internal import Foundation
internal import GRDB
internal import IngestQueue
internal import NIOCore
internal import PrivateFiles

/// A payload in the file.
struct SpooledPayload: Sendable {
  /// The number of its row. Numbers follow the order of arrival, and are never reused.
  var number: Int64 { item.number }
  let item: SpoolTurns.Item
  /// The element of the queue: the line of JSON and the payload.
  let element: [UInt8]
}

/// The number and size of the payloads in the file.
struct SpoolContents: Sendable, Equatable {
  /// Payloads that wait to be pushed.
  var entries = 0
  var bytes = 0
  /// When the oldest waiting payload was added, in milliseconds since 1970.
  var oldestAt: Int64?
  /// Payloads that are set aside.
  var setAside = 0
  var setAsideBytes = 0
}

final class SpoolFile: Sendable {
  private let database: DatabaseQueue
  /// Held while the file is open.
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

  /// A separate table, so that setting a large payload aside needs a few bytes and not a copy.
  private static let setAsideSchema = """
    CREATE TABLE IF NOT EXISTS set_aside (
      number INTEGER PRIMARY KEY,
      set_aside_at INTEGER NOT NULL,
      reason TEXT NOT NULL
    ) STRICT
    """
  private static let isWaiting = "number NOT IN (SELECT number FROM set_aside)"

  /// Opens the file in this folder, or creates both. Checks the whole file, so that damage is reported now.
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
      try database.write { try $0.execute(sql: Self.setAsideSchema) }
      // Makes the journal as long as the removal of one payload needs, while the disk has room for that: the first
      // time, and after an interrupted transaction, which removes the journal. Later starts write slightly fewer pages,
      // so that this transaction fits into a journal of that length. Unchanged pages aren't written.
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
      // Debian's SQLite overwrites deleted data with zeros, which would need as many bytes of journal as the deleted
      // data.
      try db.execute(sql: "PRAGMA secure_delete = FAST")
      // The level is read back: a spool that only seems safe is worse than none.
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

  // MARK: Operations

  func contents() throws(SpoolFailure) -> SpoolContents {
    try attempt {
      try database.read { db in
        let waiting = try Row.fetchOne(
          db, sql: "SELECT count(*), sum(length(envelope)) FROM payloads WHERE \(Self.isWaiting)")
        let aside = try Row.fetchOne(
          db, sql: "SELECT count(*), sum(length(envelope)) FROM payloads JOIN set_aside USING (number)")
        return SpoolContents(
          entries: waiting?[0] ?? 0, bytes: waiting?[1] ?? 0, oldestAt: try Self.oldestAt(db),
          setAside: aside?[0] ?? 0, setAsideBytes: aside?[1] ?? 0)
      }
    }
  }

  /// Appends all payloads or none. They are on disk when it returns.
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

  /// Metadata of payloads in the order of arrival, without reading all of their bytes.
  /// - Parameters:
  ///   - number: Only payloads after this one.
  ///   - entries: Maximum number.
  ///   - bytes: Stops once the payloads have this number of bytes.
  func items(after number: Int64, entries: Int, bytes: Int) throws(SpoolFailure) -> [SpoolTurns.Item] {
    try attempt {
      try database.read { db in
        var found: [SpoolTurns.Item] = []
        var size = 0
        let rows = try Row.fetchCursor(
          db,
          sql: """
            SELECT number, length(envelope), substr(envelope, 1, \(EnvelopeHeader.longestLine)) FROM payloads
            WHERE number > ? AND \(Self.isWaiting) ORDER BY number LIMIT ?
            """, arguments: [number, entries])
        while let row = try rows.next() {
          let length: Int = row[1]
          found.append(SpoolTurns.Item(number: row[0], bytes: length, account: Self.account(ofEnvelopeFrom: row[2])))
          size += length
          if size > bytes { break }
        }
        return found
      }
    }
  }

  /// A hash of the account's name. A row that isn't an envelope has no account; it is recognised when it is pushed.
  private static func account(ofEnvelopeFrom beginning: Data) -> Int {
    do throws(InvalidEnvelope) {
      return try Envelope([UInt8](beginning)).header.account.hashValue
    } catch {
      return 0
    }
  }

  /// The payloads of these items, in their order.
  func payloads(_ items: [SpoolTurns.Item]) throws(SpoolFailure) -> [SpooledPayload] {
    try attempt {
      try database.read { db in
        let statement = try db.cachedStatement(sql: "SELECT envelope FROM payloads WHERE number = ?")
        return try items.compactMap { item in
          guard let envelope = try Data.fetchOne(statement, arguments: [item.number]) else { return nil }
          return SpooledPayload(item: item, element: [UInt8](envelope))
        }
      }
    }
  }

  /// Removes payloads.
  /// - Returns: When the oldest of the remaining ones was added.
  func remove(_ numbers: [Int64]) throws(SpoolFailure) -> Int64? {
    do throws(SpoolFailure) {
      return try removeTogether(numbers)
    } catch .noRoom {
      // One by one they need little journal, and each frees space. Removing a payload that is gone does nothing.
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

  // MARK: Payloads that are set aside

  /// Records that a payload must not be pushed.
  /// - Returns: When the oldest of the remaining ones was added.
  func setAside(_ number: Int64, _ reason: String, at time: Int64) throws(SpoolFailure) -> Int64? {
    try attempt {
      try database.write { db in
        try db.execute(
          sql: "INSERT OR REPLACE INTO set_aside (number, set_aside_at, reason) VALUES (?, ?, ?)",
          arguments: [number, time, reason])
        return try Self.oldestAt(db)
      }
    }
  }

  /// Payloads that are set aside, the oldest first, up to the limit.
  /// - Parameter number: If given, only the payload with this number.
  func setAside(limit: Int, number: Int64? = nil) throws(SpoolFailure) -> [SetAsidePayload] {
    try attempt {
      try database.read { db in
        let rows = try Row.fetchAll(
          db,
          sql: """
            SELECT number, set_aside_at, spooled_at, length(envelope), reason,
              substr(envelope, 1, \(EnvelopeHeader.longestLine))
            FROM payloads JOIN set_aside USING (number) WHERE ?1 IS NULL OR number = ?1 ORDER BY number LIMIT ?2
            """, arguments: [number, limit])
        return rows.map { row in
          SetAsidePayload(
            number: row[0], setAsideAt: row[1], spooledAt: row[2], bytes: row[3], reason: row[4], beginning: row[5])
        }
      }
    }
  }

  /// The element of a payload that is set aside; nil if there is none with that number.
  func setAsideElement(_ number: Int64) throws(SpoolFailure) -> Data? {
    try attempt {
      try database.read { db in
        try Data.fetchOne(
          db, sql: "SELECT envelope FROM payloads JOIN set_aside USING (number) WHERE number = ?", arguments: [number])
      }
    }
  }

  /// Makes payloads that are set aside wait again, or deletes them. All or none.
  /// - Parameter discarding: Whether they are deleted; otherwise they wait to be pushed again.
  func takeBack(_ numbers: [Int64], discarding: Bool) throws(SpoolFailure) {
    try attempt {
      try database.write { db in
        for number in numbers {
          // Before its row in set_aside is deleted, because that row proves that the payload may be discarded.
          if discarding {
            try db.execute(
              sql: "DELETE FROM payloads WHERE number = ? AND NOT (\(Self.isWaiting))", arguments: [number])
          }
          try db.execute(sql: "DELETE FROM set_aside WHERE number = ?", arguments: [number])
        }
      }
    }
  }

  /// Closes the file. It can't be used after that.
  func end() throws(SpoolFailure) {
    defer { lock.release() }
    try attempt { try database.close() }
  }

  private static func oldestAt(_ db: Database) throws -> Int64? {
    try Int64.fetchOne(db, sql: "SELECT spooled_at FROM payloads WHERE \(isWaiting) ORDER BY number LIMIT 1")
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

  /// Error text without the statement and its arguments, which GRDB's own description may contain.
  private static func words(_ error: any Error) -> String {
    guard let error = error as? DatabaseError else { return "\(error)" }
    return "SQLite's error \(error.extendedResultCode.rawValue), \(error.message ?? "without words")"
  }
}
