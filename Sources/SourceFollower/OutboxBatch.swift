// What was read from the outbox at once, and the edits that it makes in the store.
//
// Of each key only the last change counts: it is what the key is in the snapshot that was read. So a batch that is
// carried out twice, because the follower was killed before it could take it out of the outbox, never takes a key back
// to what it was before. The last change of a key is the one with the largest number, since a transaction that changes
// a row holds it until it ends, and the next one gets its number after that. A transaction that began early and commits
// late may have smaller numbers than others that were read before, but of other keys; it is found because what was read
// is taken out by its numbers, and not up to a number.
//
// The edits carry the outbox's number as a revision. So each of them changes the record, even where a key is changed
// back to what the store has, and a list that was read before leaves the key alone.
//
// New keys come before ends, so that a customer who changes keys in one transaction is never without one. Ends are
// changes of the state only, which a full Redis takes as well, and aren't marked as agreed: if very many keys end, the
// nodes hold that back until an operator confirms it.

import KeyReplica
import KeyStore

/// Some changes of the source.
struct OutboxBatch: Sendable, Hashable {
  /// What the outbox says of a key last.
  struct Change: Sendable, Hashable {
    var row: SourceRow
    /// Whether the key isn't in the table any more.
    var isDeleted: Bool
    /// The number in the outbox.
    var number: UInt64
  }

  /// In the order of their numbers; one for each key.
  private(set) var changes: [Change] = []
  /// All that was read, to be taken out of the outbox.
  private(set) var numbers: [Int64] = []
  /// Whether the source is a standby, which may be behind its primary.
  private(set) var isStandby = false
  /// Whether nothing else was in the outbox.
  private(set) var isComplete = true
  /// Whether the table was truncated: only a comparison shows what that means.
  private(set) var wasTruncated = false
  /// Rows that can't be read, some of them.
  private(set) var problems: [String] = []

  static let problemLimit = 20

  /// A reply that the outbox never gives.
  struct Unexpected: Error, Sendable, CustomStringConvertible {
    let description: String
  }

  /// - Parameter rows: The result of ``FollowedTable/waitingChanges``.
  init(_ rows: [[String?]]) throws {
    guard let first = rows.first, rows.allSatisfy({ $0.count == 7 }) else {
      throw Unexpected(description: "expected rows of 7 columns from the outbox, got \(rows.count) others")
    }
    isStandby = first[0] != "false"
    var read: [(number: UInt64, columns: [String?])] = []
    for row in rows where row[1] != nil {
      guard let number = row[1].flatMap({ Int64($0) }), number >= 0, row[2] != nil else {
        throw Unexpected(description: "expected a number and a key id from the outbox, got something else")
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
        let row = try SourceRow(columns[2..<6])
        changes.append(Change(row: row, isDeleted: columns[6] == "true", number: number))
      } catch {
        if problems.count < Self.problemLimit { problems.append("\(error)") }
      }
    }
  }

  var isEmpty: Bool { numbers.isEmpty }

  /// What makes keys active.
  var additions: [KeyEdit] { changes.filter { $0.row.state == .active }.map(put) }

  /// What ends keys.
  var ends: [KeyEdit] {
    changes.filter { $0.row.state != .active }.map { change in
      KeyEdit(
        key: change.row.key, kind: .setState(change.row.state), allowing: .reactivate, revision: revision(change))
    }
  }

  /// What keys are that have ended and are still in the table: those that the store didn't know, or knew with another
  /// account.
  var records: [KeyEdit] { changes.filter { $0.row.state != .active && !$0.isDeleted }.map(put) }

  private func put(_ change: Change) -> KeyEdit {
    KeyEdit(
      key: change.row.key, kind: .put(account: change.row.account, change.row.state),
      allowing: [.move, .reactivate], revision: revision(change))
  }

  private func revision(_ change: Change) -> UInt64? {
    change.row.revision ?? (change.number <= KeyRecord.revisionLimit ? change.number : nil)
  }
}
