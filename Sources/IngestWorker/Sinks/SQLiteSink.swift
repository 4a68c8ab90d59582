// Stores payloads in one table of one SQLite file. The waiting batches of all lanes share a transaction, so they need
// one fsync. It uses WAL, so that readers don't block it. It uses synchronous=FULL, because in WAL mode a lower level
// may lose the last transactions in a power cut, and payloads that are lost after the acknowledgement are lost for
// good.
//
// Several workers may share a file: each waits for the other's lock up to the busy timeout, then the batch fails as a
// whole and is retried.

internal import Foundation
internal import GRDB
internal import IngestQueue
internal import PrivateFiles
internal import Synchronization

/// Stores payloads in the table `payloads` of a SQLite file.
public final class SQLiteSink: Sink {
  let database: DatabaseQueue
  private let commits: GroupCommit<SQLiteStore>
  public let name: String

  /// Opens the file, or creates it with its table; changes a table that an older build created.
  /// - Parameters:
  ///   - path: Its folder must exist.
  ///   - busyTimeout: How long to wait for another process's lock.
  public init(path: String, busyTimeout: Duration = .seconds(5)) throws(SinkFailure) {
    name = "sqlite:\(path)"
    let waiter = SQLiteWaiter()
    var configuration = Configuration()
    configuration.journalMode = .wal
    // A cancelled task can't shorten SQLite's own time-out.
    let pause = Duration.milliseconds(5)
    configuration.busyMode = .callback { tries in
      guard pause * tries < busyTimeout, !waiter.isGone else { return false }
      Thread.sleep(forTimeInterval: pause / .seconds(1))
      return true
    }
    configuration.label = "sink"
    // Effective only when the file is created, before the switch to WAL. Rows of a kilobyte fill large pages better.
    configuration.prepareDatabase { try $0.execute(sql: "PRAGMA page_size = 16384") }
    do throws(UnusablePath) {
      try PrivateFolder.check(of: path)
      try PrivateFile.prepareDatabase(path)
    } catch {
      throw SinkFailure("can't open \(path): \(error)")
    }
    do {
      database = try Self.open(path, configuration)
      try database.writeWithoutTransaction { try Self.setUp($0) }
      try Self.migrate(database)
    } catch {
      throw SQLiteStore.failure(error, "can't open \(path)")
    }
    commits = GroupCommit(name: "sink", SQLiteStore(database: database, waiter: waiter))
  }

  /// Maximum size of the log before a commit moves it into the file. With SQLite's default of 4 MiB that happens every
  /// few batches, and each time needs two more fsyncs.
  private static let logBytes = 64 << 20

  private static func setUp(_ db: Database) throws {
    // Set here, because GRDB sets NORMAL after the switch to WAL. It is read back, because a sink that only seems safe
    // is worse than none.
    try db.execute(sql: "PRAGMA synchronous = FULL")
    let level = try Int.fetchOne(db, sql: "PRAGMA synchronous")
    guard level == 2 else {
      throw SinkFailure("expected synchronous = FULL (2) in SQLite, got \(level.map(String.init) ?? "no level")")
    }
    let page = try Int.fetchOne(db, sql: "PRAGMA page_size") ?? 4_096
    _ = try Int.fetchOne(db, sql: "PRAGMA wal_autocheckpoint = \(logBytes / page)")
    _ = try Int.fetchOne(db, sql: "PRAGMA journal_size_limit = \(logBytes)")
    // A negative number is in KiB. The index of IDs is accessed at random.
    try db.execute(sql: "PRAGMA cache_size = -16384")
  }

  /// If two processes create one file at the same moment, the switch to WAL fails at once for one of them, whatever the
  /// busy timeout is.
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
      // Another process may have created the table between this process's check and its attempt. Then a second check
      // finds the table; any other error occurs again, and is thrown.
      try migrator.migrate(database)
    }
    if try database.read({ try migrator.hasBeenSuperseded($0) }) {
      throw SinkFailure("the table has a schema version that this build doesn't know: run the newer ingest-worker")
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

  public func store(_ deliveries: [Delivery]) async throws(SinkFailure) -> [SinkOutcome] {
    try await commits.store(deliveries)
  }

  public func close() async throws(SinkFailure) { try await commits.close() }
}

/// Whether a caller still waits, checked while SQLite waits for a lock.
final class SQLiteWaiter: Sendable {
  private let patience = Mutex<CancellationCheck?>(nil)

  /// Whether the caller has given up, so that waiting for a lock is useless.
  var isGone: Bool { patience.withLock { $0?.isOver ?? false } }

  func wait(_ patience: CancellationCheck?) { self.patience.withLock { $0 = patience } }
}
