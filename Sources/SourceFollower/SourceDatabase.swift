// One connection to the source, on a dispatch queue of its own: libpq's calls block, and neither event loops nor
// threads of the concurrency pool may block.

import Dispatch
import KeyReplica
import KeyStore
import PostgresClient
import Synchronization

/// A connection to the source. It isn't used again after an error.
///
/// Unchecked, because the connection is opened and used only on the serial queue.
final class SourceDatabase: @unchecked Sendable {
  private let address: SourceAddress
  /// The time limit of each statement.
  private let deadline: Duration
  private let queue = DispatchQueue(label: "source")
  private let patience = Patience()
  private var connection: PostgresConnection?

  private final class Patience: CallerPatience {
    private let flag = Atomic<Bool>(false)
    var isOver: Bool { flag.load(ordering: .relaxed) }
    func end() { flag.store(true, ordering: .relaxed) }
  }

  static let connectDeadline: Duration = .seconds(10)

  init(_ address: SourceAddress, deadline: Duration) {
    (self.address, self.deadline) = (address, deadline)
  }

  /// The source can't be reached, or has refused a statement.
  struct Failure: Error, Sendable, CustomStringConvertible {
    let address: SourceAddress
    let failure: PostgresFailure
    /// The messages of invalid values (class 22) contain the value, which may be a secret if columns were mixed up.
    var description: String {
      if case .refused(let state, _) = failure, state.hasPrefix("22") {
        return "the source \(address): PostgreSQL error \(state) (invalid value) in one of the column expressions. "
          + "The message is hidden because it may contain a key"
      }
      return "the source \(address): \(failure.words)"
    }

    /// Whether a statement is invalid: a table or column doesn't exist, or an expression has an error.
    var isOfStatement: Bool {
      guard case .refused(let state, _) = failure else { return false }
      return state.hasPrefix("42") && state != "42501"
    }
  }

  /// Calls the body with the connection, on the queue. Connects first if there is no connection yet.
  private func run<Answer: Sendable>(
    _ body: @escaping @Sendable (PostgresConnection, Patience) throws(PostgresFailure) -> Answer
  ) async throws -> Answer {
    let result = await withTaskCancellationHandler {
      await withCheckedContinuation { (continuation: CheckedContinuation<Result<Answer, PostgresFailure>, Never>) in
        queue.async { [self] in
          do throws(PostgresFailure) {
            continuation.resume(returning: .success(try body(try connected(), patience)))
          } catch {
            continuation.resume(returning: .failure(error))
          }
        }
      }
    } onCancel: {
      patience.end()
    }
    try Task.checkCancellation()
    do throws(PostgresFailure) {
      return try result.get()
    } catch {
      throw Failure(address: address, failure: error)
    }
  }

  private func connected() throws(PostgresFailure) -> PostgresConnection {
    if let connection { return connection }
    var options = address.options.filter { $0.keyword != "client_encoding" }
    options.append(PostgresOption(keyword: "client_encoding", value: "UTF8"))
    if !options.contains(where: { $0.keyword == "application_name" }) {
      options.append(PostgresOption(keyword: "application_name", value: "key-publisher"))
    }
    let new = try PostgresConnection(
      options, connectDeadline: Self.connectDeadline, deadline: deadline, patience)
    // The server's own deadline is a little earlier: when ours is over, the statement has certainly ended.
    let limit = max(Int(deadline / .milliseconds(1)) - 500, 1)
    _ = try new.run("SELECT set_config('statement_timeout', '\(limit)', false)", patience)
    connection = new
    return new
  }

  private static func texts(_ rows: [[[UInt8]?]]) -> [[String?]] {
    rows.map { $0.map { $0.map { String(decoding: $0, as: UTF8.self) } } }
  }

  /// Runs statements, one after the other.
  /// - Returns: The rows of the last statement. All its columns must be texts.
  @discardableResult
  func run(_ statements: [String]) async throws -> [[String?]] {
    try await run { (connection, patience) throws(PostgresFailure) in
      var rows: [[[UInt8]?]] = []
      for statement in statements { rows = try connection.run(statement, patience) }
      return Self.texts(rows)
    }
  }

  /// Runs a statement with texts as its parameters.
  /// - Parameter numbers: An array of numbers as the parameter before the texts; nil for none.
  /// - Returns: The rows. All their columns must be texts.
  @discardableResult
  func run(_ statement: String, numbers: [Int64]? = nil, texts: [String]) async throws -> [[String?]] {
    try await run { (connection, patience) throws(PostgresFailure) in
      var values = PostgresValues()
      if let numbers {
        values.addArray(of: .int8, numbers) { number, bytes in
          PostgresValues.append(number, to: &bytes)
          return true
        }
      }
      for text in texts { values.add(text) }
      return Self.texts(try connection.run(statement, patience, with: values))
    }
  }

  /// The names of a statement's columns.
  func columns(of statement: String) async throws -> [String] {
    try await run { (connection, patience) throws(PostgresFailure) in
      try connection.columns(of: statement, patience)
    }
  }

  /// Waits for a notification.
  /// - Returns: False if there was none within the time.
  @discardableResult
  func notification(within limit: Duration) async throws -> Bool {
    try await run { (connection, patience) throws(PostgresFailure) in
      try connection.notification(within: limit, patience)
    }
  }

  /// Number of rows that are fetched at once.
  private static let fetchSize = 10_000

  /// Reads a whole list in one snapshot, some rows at a time.
  /// - Parameters:
  ///   - statement: The statement for the list. Its columns are those of ``SourceRow``.
  ///   - waitingKeys: A statement for key IDs, which are read in the same snapshot; nil for none.
  /// - Throws: ``UnreadableRows``, ``Standby``, or the error of a failed statement.
  func list(
    _ statement: String, waitingKeys: String?
  ) async throws -> (list: KeyListSpool, waiting: Set<KeyID>) {
    let recovery = try await run([
      "BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY",
      "DECLARE sluice_list NO SCROLL CURSOR FOR \(statement)",
      "SELECT pg_is_in_recovery()::text",
    ])
    guard recovery.first?.first == "false" else { throw Standby(address: address) }
    do {
      let waiting = try await keys(waitingKeys)
      let list = try await fetchedList()
      try await run(["COMMIT"])
      return (list, waiting)
    } catch {
      // Releases the snapshot. If this fails as well, the connection is closed anyway.
      _ = try? await run(["ROLLBACK"])
      throw error
    }
  }

  private func keys(_ statement: String?) async throws -> Set<KeyID> {
    guard let statement else { return [] }
    // An unreadable ID belongs to no key of the store, so there is no key to skip.
    return Set(try await run([statement]).compactMap { row in (row.first ?? nil).flatMap { KeyID(hex: $0) } })
  }

  private func fetchedList() async throws -> KeyListSpool {
    var number = 0
    var problems: [String] = []
    let list = try await KeyListSpool.collecting {
      let rows = try await self.run(["FETCH FORWARD \(Self.fetchSize) FROM sluice_list"])
      guard !rows.isEmpty, problems.count < KeyListSpool.problemLimit else { return nil }
      var entries: [KeyListEntry] = []
      entries.reserveCapacity(rows.count)
      for row in rows {
        number += 1
        do throws(SourceRow.Unreadable) {
          let key = try SourceRow(row)
          entries.append(
            KeyListEntry(
              key: key.key, state: key.state, account: key.account, revision: nil, expiry: key.expiry, line: number))
        } catch {
          if problems.count < KeyListSpool.problemLimit { problems.append("\(error)") }
        }
      }
      return entries
    }
    guard problems.isEmpty else { throw UnreadableRows(problems: problems) }
    return list
  }

  /// The server is a standby, which may be behind its primary. A list from a standby would revoke the newest keys, so
  /// neither lists nor changes are read from it.
  struct Standby: Error, Sendable, CustomStringConvertible {
    let address: SourceAddress
    var description: String {
      "the source \(address) is a standby, which may be behind its primary: nothing is read from it, and "
        + "the source mark isn't renewed. Give the follower the primary's address, or several hosts and target_session_attrs=read-write"
    }
  }

  /// - Throws: ``Standby``
  func requirePrimary(_ isStandby: Bool) throws { if isStandby { throw Standby(address: address) } }

  /// The source has unreadable rows.
  struct UnreadableRows: Error, Sendable, CustomStringConvertible {
    let problems: [String]
    var description: String {
      let more = problems.count >= KeyListSpool.problemLimit ? "; … and perhaps more" : ""
      return problems.joined(separator: "; ") + more
    }
  }
}
