// Payloads into one table of one SQLite file. One transaction for a batch, so one fsync for a batch; WAL, so that readers don't stop
// it; synchronous=FULL, because in WAL mode anything less may lose the last transactions in a power cut, and what is lost after the
// acknowledgement is lost for good.
//
// Several workers may share a file: each waits for the other's lock up to the busy timeout, then the batch fails as a
// whole and is tried again.

internal import Foundation
internal import GRDB
internal import IngestQueue
internal import Synchronization

/// Stores payloads in the table `payloads` of a SQLite file.
public final class SQLiteSink: Sink {
  let database: DatabaseQueue
  private let ending = Ending()
  public let name: String

  /// Whether somebody waits for this sink's end: then no lock is worth waiting for.
  private final class Ending: Sendable {
    let isNear = Atomic<Bool>(false)
  }

  /// Opens the file, or makes it; also its table, and any change of the table since the build that made it.
  /// - Parameters:
  ///   - path: Its folder must exist.
  ///   - busyTimeout: How long to wait for another process's lock.
  public init(path: String, busyTimeout: Duration = .seconds(5)) throws(SinkFailure) {
    name = "sqlite:\(path)"
    var configuration = Configuration()
    configuration.journalMode = .wal
    // SQLite's own time-out can't be cut short by a cancelled task.
    let pause = Duration.milliseconds(5)
    configuration.busyMode = .callback { [ending] tries in
      guard pause * tries < busyTimeout, !ending.isNear.load(ordering: .relaxed) else { return false }
      Thread.sleep(forTimeInterval: pause / .seconds(1))
      return true
    }
    configuration.label = "sink"
    do {
      database = try Self.open(path, configuration)
      try database.writeWithoutTransaction { db in
        // GRDB sets NORMAL after it has switched to WAL, so this comes after; and it is read back, because a sink that only
        // believes to be safe is worse than none.
        try db.execute(sql: "PRAGMA synchronous = FULL")
        let level = try Int.fetchOne(db, sql: "PRAGMA synchronous")
        guard level == 2 else {
          throw SinkFailure(
            "SQLite didn't take synchronous = FULL: its level is \(level.map(String.init) ?? "unknown")")
        }
      }
      try Self.migrate(database)
    } catch {
      throw Self.failure(error, "can't open \(path)")
    }
  }

  /// When two processes make one file at one moment, the switch to WAL fails at once for one of them whatever the busy timeout is.
  private static func open(_ path: String, _ configuration: Configuration) throws -> DatabaseQueue {
    var attempts = 0
    while true {
      do {
        return try DatabaseQueue(path: path, configuration: configuration)
      } catch let error as DatabaseError where error.resultCode == .SQLITE_BUSY && attempts < 50 {
        attempts += 1
        Thread.sleep(forTimeInterval: 0.02)
      }
    }
  }

  private static func migrate(_ database: DatabaseQueue) throws {
    do {
      try migrator.migrate(database)
    } catch is DatabaseError {
      // Another process may have made the table between this one's look and its own try. Then a second look finds it;
      // anything else fails again, and is thrown.
      try migrator.migrate(database)
    }
    if try database.read({ try migrator.hasBeenSuperseded($0) }) {
      throw SinkFailure("a newer build has changed the table: this one doesn't know what it would break")
    }
  }

  private static var migrator: DatabaseMigrator {
    var migrator = DatabaseMigrator()
    migrator.registerMigration("payloads") { db in
      try db.execute(
        sql: """
          CREATE TABLE payloads (
            id TEXT PRIMARY KEY NOT NULL,
            account TEXT NOT NULL,
            key_id TEXT NOT NULL,
            received_at INTEGER NOT NULL,
            content_type TEXT,
            content_encoding TEXT,
            undone TEXT,
            path TEXT NOT NULL,
            node TEXT NOT NULL,
            traceparent TEXT,
            body BLOB NOT NULL,
            stored_at INTEGER NOT NULL
          ) STRICT
          """)
    }
    return migrator
  }

  private static let insertion = """
    INSERT INTO payloads (id, account, key_id, received_at, content_type, content_encoding, undone, path, node,
      traceparent, body, stored_at)
    VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)
    ON CONFLICT (id) DO NOTHING
    """

  public func store(_ deliveries: [Delivery]) async throws(SinkFailure) -> [SinkOutcome] {
    let now = Int64(Date().timeIntervalSince1970 * 1_000)
    do {
      return try await withTaskCancellationHandler {
        try await database.write { db in
          let statement = try db.cachedStatement(sql: Self.insertion)
          return try deliveries.map { try Self.insert($0, now: now, statement, db) }
        }
      } onCancel: {
        ending.isNear.store(true, ordering: .relaxed)
      }
    } catch {
      throw Self.failure(error, "a batch of \(deliveries.count) was not stored")
    }
  }

  private static func insert(
    _ delivery: Delivery, now: Int64, _ statement: Statement, _ db: Database
  ) throws -> SinkOutcome {
    let header = delivery.header
    do {
      try statement.execute(arguments: [
        "\(header.id)", header.account, header.key, header.receivedAt, header.contentType, header.contentEncoding,
        delivery.body.undone, header.path, header.node, header.traceparent, Data(delivery.body.bytes), now,
      ])
      return db.changesCount == 0 ? .duplicate : .stored
    } catch let error as DatabaseError where [.SQLITE_TOOBIG, .SQLITE_CONSTRAINT].contains(error.resultCode) {
      // About this row and no other; SQLite has undone the statement, and the transaction goes on.
      return .failed(reason: words(error), retryable: false)
    }
  }

  public func close() async throws(SinkFailure) {
    do {
      try database.close()
    } catch {
      throw Self.failure(error, "can't close")
    }
  }

  private static func failure(_ error: any Error, _ what: String) -> SinkFailure {
    switch error {
    case let error as SinkFailure: error
    case let error as DatabaseError: SinkFailure("\(what): \(words(error))")
    case is CancellationError: SinkFailure("\(what): it was cancelled")
    default: SinkFailure("\(what): \(error)")
    }
  }

  /// Without the statement and its arguments, which GRDB's own description may hold.
  private static func words(_ error: DatabaseError) -> String {
    "SQLite's error \(error.extendedResultCode.rawValue), \(error.message ?? "without words")"
  }
}
