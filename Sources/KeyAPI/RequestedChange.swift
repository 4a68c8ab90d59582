// Converts the body of a request into edits of the key store. key-publisher's verbs put, suspend, activate and revoke
// make the same edits from a command line.

internal import Foundation
internal import KeyReplica
internal import KeyStore

enum RequestedChange {
  /// Maximum version of a store. Larger numbers aren't exact in every JSON implementation.
  private static let versionLimit: UInt64 = 1 << 53

  private static let keyNames = ["key", "key_id"]
  private static let putNames = ["account", "reactivate", "change_account", "revision", "expires_at"]
  private static let stateNames = ["state", "revision"]

  /// Parses a body.
  static func json(_ bytes: [UInt8]) throws(APIProblem) -> JSONValue {
    do {
      return try JSONDecoder().decode(JSONValue.self, from: Data(bytes))
    } catch {
      // The decoder's own message quotes its input, which may be a secret.
      throw .invalid("the body", expected: "JSON", found: "another text (\(bytes.count) bytes, not shown)")
    }
  }

  /// The edit of `PUT /v1/keys/{key_id}`.
  static func put(_ key: KeyID, _ body: JSONValue) throws(APIProblem) -> ChangeRequest {
    let members = try Members(body, names: putNames + ["if_version"])
    return ChangeRequest(edits: [try put(key, members)], basis: try version(members))
  }

  /// The edit of `POST /v1/keys`.
  static func put(_ body: JSONValue) throws(APIProblem) -> ChangeRequest {
    let members = try Members(body, names: keyNames + putNames + ["if_version"])
    return ChangeRequest(edits: [try put(try key(members, at: ""), members)], basis: try version(members))
  }

  /// The edit of `PATCH /v1/keys/{key_id}`.
  static func state(_ key: KeyID, _ body: JSONValue) throws(APIProblem) -> ChangeRequest {
    let members = try Members(body, names: stateNames + ["if_version"])
    return ChangeRequest(edits: [try state(key, members)], basis: try version(members))
  }

  /// The edits of `POST /v1/keys:batch`.
  static func batch(_ body: JSONValue) throws(APIProblem) -> ChangeRequest {
    let members = try Members(body, names: ["changes", "if_version"])
    let items = try members.array("changes")
    guard (1...KeyStoreWriter.batchLimit).contains(items.count) else {
      throw .invalid("changes", expected: "1 to \(KeyStoreWriter.batchLimit) changes", found: "\(items.count)")
    }
    var edits: [KeyEdit] = []
    for (index, item) in items.enumerated() {
      let path = "changes[\(index)]"
      let both = try Members(item, at: path, names: keyNames + putNames + ["state"])
      guard both.has("account") != both.has("state") else {
        throw .invalid(
          path, expected: "either account, to put the key, or state, to change it",
          found: both.has("account") ? "both" : "neither")
      }
      let isPut = both.has("account")
      let own = try Members(item, at: path, names: keyNames + (isPut ? putNames : stateNames))
      let id = try key(own, at: path + ".")
      edits.append(isPut ? try put(id, own) : try state(id, own))
    }
    return ChangeRequest(edits: edits, basis: try version(members))
  }

  /// Parses a key ID.
  /// - Parameters:
  ///   - text: The key ID in the path or in a member.
  ///   - name: The place of the text, for the error.
  static func keyID(_ text: some StringProtocol, _ name: String = "key_id") throws(APIProblem) -> KeyID {
    guard let key = KeyID(hex: text) else {
      throw .invalid(name, expected: "the key's SHA-256, 64 hexadecimal digits", found: "\(text.utf8.count) bytes")
    }
    return key
  }

  private static func key(_ members: Members, at path: String) throws(APIProblem) -> KeyID {
    guard members.has("key") != members.has("key_id") else {
      throw .invalid(
        path.isEmpty ? "the body" : String(path.dropLast()), expected: "either key or key_id",
        found: members.has("key") ? "both" : "neither")
    }
    guard members.has("key") else { return try keyID(try members.string("key_id"), path + "key_id") }
    let secret = try members.string("key")
    if let objection = KeyListParser.objection(toSecret: secret) {
      throw .invalid(path + "key", expected: "1 to 512 printable ASCII characters without spaces", found: objection)
    }
    return KeyID(secret: secret.utf8)
  }

  private static func put(_ key: KeyID, _ members: Members) throws(APIProblem) -> KeyEdit {
    .active(
      key, of: try members.account(), reactivates: try members.flag("reactivate"),
      changesAccount: try members.flag("change_account"), revision: try revision(members),
      expiry: try members.expiry())
  }

  private static func state(_ key: KeyID, _ members: Members) throws(APIProblem) -> KeyEdit {
    KeyEdit(key: key, kind: .setState(try members.state()), revision: try revision(members))
  }

  private static func revision(_ members: Members) throws(APIProblem) -> UInt64? {
    try members.number("revision", upTo: KeyRecord.revisionLimit)
  }

  private static func version(_ members: Members) throws(APIProblem) -> UInt64? {
    try members.number("if_version", upTo: versionLimit)
  }
}
