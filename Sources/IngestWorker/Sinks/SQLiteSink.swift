// Payloads into one table of one SQLite file. One transaction for what all lanes bring at a time, so one fsync for it; WAL, so that
// readers don't stop it; synchronous=FULL, because in WAL mode anything less may lose the last transactions in a power cut, and what is
// lost after the acknowledgement is lost for good.
//
// Several workers may share a file: each waits for the other's lock up to the busy timeout, then the batch fails as a
// whole and is tried again.

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

  /// Opens the file, or makes it; also its table, and any change of the table since the build that made it.
  /// - Parameters:
  ///   - path: Its folder must exist.
  ///   - busyTimeout: How long to wait for another process's lock.
  public init(path: String, busyTimeout: Duration = .seconds(5)) throws(SinkFailure) {
    name = "sqlite:\(path)"
    let waiter = SQLiteWaiter()
    var configuration = Configuration()
    configuration.journalMode = .wal
    // SQLite's own time-out can't be cut short by a cancelled task.
    let pause = Duration.milliseconds(5)
    configuration.busyMode = .callback { tries in
      guard pause * tries < busyTimeout, !waiter.isGone else { return false }
      Thread.sleep(forTimeInterval: pause / .seconds(1))
      return true
    }
    configuration.label = "sink"
    // Counts where the file is made, and only before it is switched to WAL. Rows of a kilobyte fill large pages better.
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

  /// How large the log may get before a commit moves it into the file: with SQLite's own 4 MiB that comes at every few batches, and each
  /// time costs two fsyncs more.
  private static let logBytes = 64 << 20

  private static func setUp(_ db: Database) throws {
    // GRDB sets NORMAL after it has switched to WAL, so this comes after; and it is read back, because a sink that only
    // believes to be safe is worse than none.
    try db.execute(sql: "PRAGMA synchronous = FULL")
    let level = try Int.fetchOne(db, sql: "PRAGMA synchronous")
    guard level == 2 else {
      throw SinkFailure("SQLite didn't take synchronous = FULL: its level is \(level.map(String.init) ?? "unknown")")
    }
    let page = try Int.fetchOne(db, sql: "PRAGMA page_size") ?? 4_096
    _ = try Int.fetchOne(db, sql: "PRAGMA wal_autocheckpoint = \(logBytes / page)")
    _ = try Int.fetchOne(db, sql: "PRAGMA journal_size_limit = \(logBytes)")
    // In KiB where it is negative. The index of ids is what is asked for at random.
    try db.execute(sql: "PRAGMA cache_size = -16384")
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

  public func store(_ deliveries: [Delivery]) async throws(SinkFailure) -> [SinkOutcome] {
    try await commits.store(deliveries)
  }

  public func close() async throws(SinkFailure) { try await commits.close() }
}

/// For whom SQLite waits, when it waits for a lock.
final class SQLiteWaiter: Sendable {
  private let patience = Mutex<CancellationCheck?>(nil)

  /// Nobody waits any more: then no lock is worth waiting for.
  var isGone: Bool { patience.withLock { $0?.isOver ?? false } }

  func wait(_ patience: CancellationCheck?) { self.patience.withLock { $0 = patience } }
}
