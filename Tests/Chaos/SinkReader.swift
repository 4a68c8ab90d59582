// Reads the worker's sink with SQL, in order of insertion, and only the rows that were added since the last read.

import Foundation
import GRDB
import Synchronization

/// Reads new rows of a SQLite sink.
final class SinkReader: Sendable {
  private struct State {
    var database: DatabaseQueue?
    var last: Int64 = 0
  }

  private let path: String
  private let state = Mutex(State())
  private static let rowsAtOnce = 1_000

  init(path: String) { self.path = path }

  /// Tells the ledger of all rows that came since the last call; none where there is no file yet.
  func read(into ledger: Ledger) throws {
    try state.withLock { state in
      guard let database = try state.database ?? open() else { return }
      state.database = database
      var count = Self.rowsAtOnce
      while count == Self.rowsAtOnce {
        let rows = try database.read { [last = state.last] db in
          try Row.fetchAll(
            db, sql: "SELECT rowid, id, account, body FROM payloads WHERE rowid > ? ORDER BY rowid LIMIT ?",
            arguments: [last, Self.rowsAtOnce])
        }
        for row in rows {
          ledger.stored(id: row["id"], account: row["account"], BodyDigest(row["body"] as Data))
          state.last = row["rowid"]
        }
        count = rows.count
      }
    }
  }

  private func open() throws -> DatabaseQueue? {
    guard FileManager.default.fileExists(atPath: path) else { return nil }
    var configuration = Configuration()
    configuration.readonly = true
    configuration.busyMode = .timeout(5)
    let queue = try DatabaseQueue(path: path, configuration: configuration)
    return try queue.read { try $0.tableExists("payloads") } ? queue : nil
  }
}
