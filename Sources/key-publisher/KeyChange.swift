// The verbs about single keys. Any of them may be repeated, by a queue or by an operator, after the key was changed by
// others. So a verb doesn't undo others' changes unless that was explicitly requested. The store decides that in the
// step that would make the change. Exit status 4 and a sentence give the reason.

import ArgumentParser
import CommandSupport
import KeyReplica
import KeyStore
import RedisClient

/// Sets the state of one key, or of all keys of an account.
func setState(
  _ state: KeyState, _ keys: KeysArguments, _ store: StoreWriting, _ basis: RevisionArguments
) async throws {
  switch try keys.resolve() {
  case .account(let account):
    guard try basis.isEmpty else { throw ValidationError("--if-version and --revision are for a single key") }
    try await setState(state, ofAccount: account, isTrial: keys.dryRun, store)
  case .key(let id):
    let edit = KeyEdit(key: id, kind: .setState(state), revision: try basis.number())
    try await carryOut(edit, store, basedOn: try basis.basis.version()) { state, already in
      "key \(id) is \(state)\(already)"
    }
  }
}

/// The result for an account, as JSON.
private struct AccountResult: Encodable {
  var account: String
  var state: String
  var dryRun: Bool
  var keys: Int
  var changed: Int
  var stayRevoked: Int
  var version: UInt64?
}

private func setState(
  _ state: KeyState, ofAccount account: String, isTrial: Bool, _ store: StoreWriting
) async throws {
  let results = try store.results()
  func body(_ connection: RedisConnection, _ layout: StoreLayout) async throws {
    let follower = isTrial ? nil : try await activeFollower(connection, layout)
    let outcome = try await AccountKeys(connection: connection, layout: layout).set(
      state, of: account, isTrial: isTrial)
    guard outcome.keys > 0 else {
      complain("the store has no key of the account \(account); nothing was changed")
      throw ExitStatus.failed.code
    }
    let done = isTrial ? "would become" : "became"
    let staying =
      outcome.staysRevoked > 0
      ? "; \(count(outcome.staysRevoked, "revoked key")) \(outcome.staysRevoked == 1 ? "stays" : "stay") revoked" : ""
    let version = outcome.version.map { "; version \($0)" } ?? ""
    try results.print(
      "\(outcome.changed) of \(count(outcome.keys, "key")) of \(account) \(done) \(state.word)\(staying)\(version)",
      AccountResult(
        account: account, state: state.word, dryRun: isTrial, keys: outcome.keys, changed: outcome.changed,
        stayRevoked: outcome.staysRevoked, version: outcome.version))
    if outcome.changed > 0, let follower { warn(of: follower) }
    if outcome.unreadable > 0 {
      complain(
        "\(count(outcome.unreadable, "record")) can't be read and may be of this account; key-publisher verify says which"
      )
      throw ExitStatus.failed.code
    }
  }
  if isTrial { try await store.store.run(body) } else { try await store.run(body) }
}

/// Carries out one edit, and ends with the matching exit status.
/// - Parameter done: The sentence for success. It gets the key's state, and " already" or an empty text.
func carryOut(
  _ edit: KeyEdit, _ store: StoreWriting, basedOn version: UInt64?,
  done: @escaping (_ state: String, _ already: String) -> String
) async throws {
  let results = try store.results()
  try await store.run { connection, layout in
    let follower = try await activeFollower(connection, layout)
    let outcome = try await KeyStoreWriter(connection: connection, layout: layout).apply([edit], basedOn: version)
    let result = outcome.results[0]
    let state = result.state?.word ?? "unreadable"
    if let objection = KeyObjection(result, to: edit, basedOn: version, insistence: .options) {
      guard objection.reason != .unknownKey else {
        complain("\(objection.fact); nothing was changed")
        throw ExitStatus.failed.code
      }
      complain(objection.sentence)
      throw objection.reason == .damagedRecord ? ExitStatus.failed.code : ExitStatus.keyLeftAsItIs.code
    }
    if result.kind == .changed, let follower { warn(of: follower) }
    var account: String?
    if case .put(let owner, _) = edit.kind { account = owner }
    try results.print(
      done(state, result.kind == .unchanged ? " already" : "") + "; version \(outcome.version)",
      KeyResult(
        keyId: edit.key.hex, account: account, state: state, expiresAt: edit.expiry.applied(to: nil),
        revision: edit.revision,
        changed: result.kind == .changed, version: outcome.version))
  }
}

extension KeyObjection.Insistence {
  /// The options of the command line.
  fileprivate static let options = KeyObjection.Insistence(
    reactivatingPut: "put --reactivate", reactivate: "--reactivate", changeAccount: "--change-account")
}
