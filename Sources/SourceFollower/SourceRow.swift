// Reads and checks a row of the source. An unreadable row is an error with the row's key ID. Such a row is never taken
// for an absent or an active key.

import KeyReplica
import KeyStore

/// A key in the source.
struct SourceRow: Sendable, Hashable {
  var key: KeyID
  var account: String
  var state: KeyState
  var revision: UInt64?
  /// When the key ends. A source without a column for it changes no expiry.
  var expiry: ExpiryChange

  /// A row that can't be read.
  struct Unreadable: Error, Sendable, CustomStringConvertible {
    let description: String
  }

  /// - Parameter columns: Key ID, account, state, revision and end. The end is null if the source has no column for it.
  init(_ columns: some Collection<String?>) throws(Unreadable) {
    let columns = Array(columns)
    guard columns.count == 5 else { throw Unreadable(description: "expected 5 columns, got \(columns.count)") }
    // Rows without a key aren't listed, so a null is invalid here.
    let (id, account) = (columns[0] ?? "", columns[1] ?? "")
    guard id != "invalid" else {
      throw Unreadable(
        description: "a key of account \"\(account.prefix(100))\" is empty, longer than 512 characters, or not "
          + "visible ASCII")
    }
    guard let key = KeyID(hex: id) else {
      // The message doesn't contain the text: if columns were mixed up, the text is a secret.
      throw Unreadable(
        description: "expected a key ID of 64 hexadecimal digits for a key of the account \"\(account.prefix(100))\", "
          + "got \(id.utf8.count) bytes")
    }
    if let objection = KeyRecord.objection(toAccount: account) {
      throw Unreadable(description: "the row of key \(key): \(objection)")
    }
    guard let state = KeyState(word: columns[2] ?? "") else {
      let found = columns[2].map { "another value (\($0.utf8.count) bytes, not shown)" } ?? "null"
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
    expiry = .keep
    if let text = columns[4] {
      // PostgreSQL's latest time.
      guard let change = text == "infinity" ? ExpiryChange.remove : ExpiryChange(field: text) else {
        throw Unreadable(
          description: "the row of key \(key): expected the key's expiry as a timestamptz, or as "
            + "\(ExpiryChange.expectation), got \"\(text.prefix(40))\"")
      }
      expiry = change
    }
    (self.key, self.account, self.state, self.revision) = (key, account, state, revision)
  }
}
