// One connection to the source, on a queue of its own: libpq's calls wait, and neither event loops nor threads of the
// concurrency pool may.

import Dispatch
import KeyReplica
import KeyStore
import PostgresClient
import Synchronization

/// A connection to the source. After an error it isn't used again.
///
/// Unchecked, because the connection is made and used on the serial queue only.
final class SourceDatabase: @unchecked Sendable {
  private let address: SourceAddress
  /// For each statement.
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

  /// What came in the way, in words.
  struct Failure: Error, Sendable, CustomStringConvertible {
    let address: SourceAddress
    let failure: PostgresFailure
    /// Errors of values (22) repeat the value, which is a secret where columns were mixed up.
    var description: String {
      if case .refused(let state, _) = failure, state.hasPrefix("22") {
        return "the source \(address): PostgreSQL's error \(state) in an expression for a value. Its message isn't "
          + "shown, because it may contain the value"
      }
      return "the source \(address): \(failure.words)"
    }

    /// Whether PostgreSQL can't make sense of a statement: a table or column that isn't there, or an error in an expression.
    var isOfStatement: Bool {
      guard case .refused(let state, _) = failure else { return false }
      return state.hasPrefix("42") && state != "42501"
    }
  }

  /// Does something with the connection, which is made first where there is none.
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
    // A little before ours: then the statement is certainly over.
    let limit = max(Int(deadline / .milliseconds(1)) - 500, 1)
    _ = try new.run("SELECT set_config('statement_timeout', '\(limit)', false)", patience)
    connection = new
    return new
  }

  private static func texts(_ rows: [[[UInt8]?]]) -> [[String?]] {
    rows.map { $0.map { $0.map { String(decoding: $0, as: UTF8.self) } } }
  }

  /// Runs statements, one after the other.
  /// - Returns: The rows of the last one, all of whose columns are texts.
  @discardableResult
  func run(_ statements: [String]) async throws -> [[String?]] {
    try await run { (connection, patience) throws(PostgresFailure) in
      var rows: [[[UInt8]?]] = []
      for statement in statements { rows = try connection.run(statement, patience) }
      return Self.texts(rows)
    }
  }

  /// Runs a statement that takes an array of numbers.
  func run(_ statement: String, numbers: [Int64]) async throws {
    try await run { (connection, patience) throws(PostgresFailure) in
      var values = PostgresValues()
      values.addArray(of: .int8, numbers) { number, bytes in
        PostgresValues.append(number, to: &bytes)
        return true
      }
      _ = try connection.run(statement, patience, with: values)
    }
  }

  /// The names of a statement's columns.
  func columns(of statement: String) async throws -> [String] {
    try await run { (connection, patience) throws(PostgresFailure) in
      try connection.columns(of: statement, patience)
    }
  }

  /// Waits for a notification.
  /// - Returns: False if none came within the time.
  @discardableResult
  func notification(within limit: Duration) async throws -> Bool {
    try await run { (connection, patience) throws(PostgresFailure) in
      try connection.notification(within: limit, patience)
    }
  }

  /// Rows that are fetched at once.
  private static let fetchSize = 10_000

  /// Reads a whole list in one snapshot, some rows at a time.
  /// - Parameters:
  ///   - statement: Its columns are those of ``SourceRow``.
  ///   - waitingKeys: Key IDs that are read in the same snapshot.
  /// - Throws: ``UnreadableRows``, ``Standby``, or what isn't an answer.
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
      // The snapshot is let go. Where that fails, too, the connection is over.
      _ = try? await run(["ROLLBACK"])
      throw error
    }
  }

  private func keys(_ statement: String?) async throws -> Set<KeyID> {
    guard let statement else { return [] }
    // What can't be read is no key that could be left alone.
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
            KeyListEntry(key: key.key, state: key.state, account: key.account, revision: nil, line: number))
        } catch {
          if problems.count < KeyListSpool.problemLimit { problems.append("\(error)") }
        }
      }
      return entries
    }
    guard problems.isEmpty else { throw UnreadableRows(problems: problems) }
    return list
  }

  /// The server may be behind its primary. Its list would revoke keys that are new, so nothing is taken from it.
  struct Standby: Error, Sendable, CustomStringConvertible {
    let address: SourceAddress
    var description: String {
      "the source \(address) is a standby, which may be behind its primary: nothing is taken from it, and the store isn't marked. "
        + "Lead the follower to the primary, for example with several hosts and target_session_attrs=read-write"
    }
  }

  /// - Throws: ``Standby``
  func requirePrimary(_ isStandby: Bool) throws { if isStandby { throw Standby(address: address) } }

  /// Rows of the source that can't be read.
  struct UnreadableRows: Error, Sendable, CustomStringConvertible {
    let problems: [String]
    var description: String {
      let more = problems.count >= KeyListSpool.problemLimit ? "; … and perhaps more" : ""
      return problems.joined(separator: "; ") + more
    }
  }
}
