// A batch of changes from the outbox, and the edits of the store that these changes need.
//
// Only the last change of each key is carried out: it has the key's content in the snapshot that was read. If the
// follower is killed before it can delete a batch from the outbox, the batch is carried out twice. Even then no key
// gets an older content.
//
// The last change of a key is the one with the largest number. A transaction locks a row that it changes until it ends,
// and the next transaction gets its number after that. A transaction that began early and commits late may have smaller
// numbers than changes that were read earlier, but these are changes of other keys. No change is skipped, because the
// follower deletes exactly the numbers that it has read, not all numbers up to the largest one.
//
// Each edit has the outbox's number as its revision. So every edit changes the record, even if the store already has
// the key's state and account. A comparison with an older list then sees that the key was changed, and leaves it
// unchanged.
//
// New keys are added before others are suspended or revoked, so that a customer who replaces a key in one transaction
// always has a valid key. Suspending and revoking changes only the state, which a full Redis permits as well. These
// edits aren't marked as agreed: if there are very many, the nodes hold them until an operator confirms them.

import KeyReplica
import KeyStore

/// A batch of changes from the outbox.
struct OutboxBatch: Sendable, Hashable {
  /// The last change of a key.
  struct Change: Sendable, Hashable {
    var row: SourceRow
    /// Whether the key is no longer in the table.
    var isDeleted: Bool
    /// The change's number in the outbox.
    var number: UInt64
  }

  /// One change for each key, in the order of their numbers.
  private(set) var changes: [Change] = []
  /// The numbers of all changes that were read. They are deleted from the outbox when the batch is in the store.
  private(set) var numbers: [Int64] = []
  /// Whether the source is a standby server, which may be behind its primary.
  private(set) var isStandby = false
  /// The session that had the outbox; nil if the table with the outbox's store has lost its row.
  private(set) var session: String?
  /// Whether the outbox had no other changes.
  private(set) var isComplete = true
  /// Whether the table was truncated. Then a comparison must find the keys that are gone.
  private(set) var wasTruncated = false
  /// Messages about unreadable rows, up to ``problemLimit``.
  private(set) var problems: [String] = []

  static let problemLimit = 20

  /// A result that ``FollowedTable/waitingChanges`` never returns.
  struct Unexpected: Error, Sendable, CustomStringConvertible {
    let description: String
  }

  /// - Parameter rows: The result of ``FollowedTable/waitingChanges``.
  init(_ rows: [[String?]]) throws {
    guard let first = rows.first, rows.allSatisfy({ $0.count == 9 }) else {
      throw Unexpected(description: "expected rows of 9 columns from the outbox, got \(rows.count) others")
    }
    isStandby = first[0] != "false"
    session = first[8]
    var read: [(number: UInt64, columns: [String?])] = []
    for row in rows where row[1] != nil {
      guard let number = row[1].flatMap({ Int64($0) }), number >= 0, row[2] != nil else {
        throw Unexpected(description: "expected a number and a key ID from the outbox, got something else")
      }
      numbers.append(number)
      read.append((UInt64(number), row))
    }
    read.sort { $0.number < $1.number }
    var last: [String: Int] = [:]
    for (index, change) in read.enumerated() {
      let id = change.columns[2] ?? ""
      if id.isEmpty { wasTruncated = true } else { last[id] = index }
    }
    isComplete = last.count < FollowedTable.keyLimit && read.count < FollowedTable.changeLimit
    for index in last.values.sorted() {
      let (number, columns) = read[index]
      do throws(SourceRow.Unreadable) {
        let row = try SourceRow(columns[2..<7])
        changes.append(Change(row: row, isDeleted: columns[7] == "true", number: number))
      } catch {
        if problems.count < Self.problemLimit { problems.append("\(error)") }
      }
    }
  }

  var isEmpty: Bool { numbers.isEmpty }

  /// Edits that make keys active.
  var additions: [KeyEdit] { changes.filter { $0.row.state == .active }.map(put) }

  /// Edits that suspend or revoke keys.
  var ends: [KeyEdit] {
    changes.filter { $0.row.state != .active }.map { change in
      KeyEdit(
        key: change.row.key, kind: .setState(change.row.state), allowing: .reactivate, revision: revision(change))
    }
  }

  /// Edits that write the records of suspended and revoked keys that are still in the table. ``ends`` changes only the
  /// state, so it can't add a key that isn't in the store, or change the account.
  var records: [KeyEdit] { changes.filter { $0.row.state != .active && !$0.isDeleted }.map(put) }

  private func put(_ change: Change) -> KeyEdit {
    KeyEdit(
      key: change.row.key, kind: .put(account: change.row.account, change.row.state),
      allowing: [.move, .reactivate], revision: revision(change), expiry: change.row.expiry)
  }

  private func revision(_ change: Change) -> UInt64? {
    change.row.revision ?? (change.number <= KeyRecord.revisionLimit ? change.number : nil)
  }
}
