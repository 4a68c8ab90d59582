// What a row of the source says, checked. A row that can't be read is an error with the row's key ID, and never a key
// that isn't there or is active.

import KeyReplica
import KeyStore

/// A key as the source has it.
struct SourceRow: Sendable, Hashable {
  var key: KeyID
  var account: String
  var state: KeyState
  var revision: UInt64?

  /// A row that can't be read.
  struct Unreadable: Error, Sendable, CustomStringConvertible {
    let description: String
  }

  /// - Parameter columns: Key ID, account, state and revision.
  init(_ columns: some Collection<String?>) throws(Unreadable) {
    let columns = Array(columns)
    guard columns.count == 4 else { throw Unreadable(description: "expected 4 columns, got \(columns.count)") }
    // A null is no key, and isn't listed.
    let (id, account) = (columns[0] ?? "", columns[1] ?? "")
    guard id != "invalid" else {
      throw Unreadable(
        description: "a key of the account \"\(account.prefix(100))\" has no characters, more than 512, or others than "
          + "visible ones of ASCII, so no request could carry it")
    }
    guard let key = KeyID(hex: id) else {
      // Not repeated: if columns were mixed up it is a secret.
      throw Unreadable(
        description: "expected a key id of 64 hexadecimal digits for a key of the account \"\(account.prefix(100))\", "
          + "got \(id.utf8.count) bytes")
    }
    if let objection = KeyRecord.objection(toAccount: account) {
      throw Unreadable(description: "the row of key \(key): \(objection)")
    }
    guard let state = KeyState(word: columns[2] ?? "") else {
      let found = columns[2].map { "\($0.utf8.count) other bytes" } ?? "null"
      throw Unreadable(
        description: "the row of key \(key): expected the state active, suspended or revoked, got \(found)")
    }
    var revision: UInt64?
    if let text = columns[3] {
      guard let number = UInt64(text), number <= KeyRecord.revisionLimit else {
        throw Unreadable(
          description: "the row of key \(key): expected a revision from 0 to \(KeyRecord.revisionLimit), got "
            + "\"\(text.prefix(32))\"")
      }
      revision = number
    }
    (self.key, self.account, self.state, self.revision) = (key, account, state, revision)
  }
}
