// The verbs about a single key. Each of them may be sent again, by a queue or an impatient person, when others have
// changed the key since. So none undoes what somebody else did unless it says that it is meant to, and the store
// decides that in the step that would make the change: exit status 4 and a sentence say what stands against it.

import ArgumentParser
import CommandSupport
import KeyReplica
import KeyStore

func setState(
  _ state: KeyState, _ key: KeyArguments, _ store: StoreWriting, _ basis: RevisionArguments
) async throws {
  let id = try key.resolve()
  let edit = KeyEdit(key: id, kind: .setState(state), revision: try basis.number())
  try await carryOut(edit, store, basedOn: try basis.basis.version()) { _ in
    nil
  } done: { state, already in
    "key \(id) is \(state)\(already)"
  }
}

/// Carries out one edit, and ends with the status that says what became of it.
/// - Parameters:
///   - objection: Why a key that is as the edit would leave it isn't as somebody expects; nil if it is.
///   - done: The sentence for it; takes the key's state, and " already" or nothing.
func carryOut(
  _ edit: KeyEdit, _ store: StoreWriting, basedOn version: UInt64?, objection: @escaping (EditResult) -> String?,
  done: @escaping (_ state: String, _ already: String) -> String
) async throws {
  try await store.run { connection, layout in
    let outcome = try await KeyStoreWriter(connection: connection, layout: layout).apply([edit], basedOn: version)
    let result = outcome.results[0]
    let state = result.state?.word ?? "unreadable"
    let left: String?
    switch result.kind {
    case .changed, .unchanged: left = objection(result)
    case .missing:
      complain("the store doesn't know key \(edit.key); nothing was changed")
      throw ExitCode(1)
    case .staysRevoked: left = "key \(edit.key) is revoked, and stays so; only put --reactivate brings it back"
    case .otherAccount:
      left = "key \(edit.key) belongs to another account in the store and is \(state); say --change-account to move it"
    case .newerVersion:
      left = "key \(edit.key) was changed after version \(version ?? 0), and is \(state) now"
    case .olderRevision:
      left = "key \(edit.key) has a larger revision in the store than \(edit.revision ?? 0), and is \(state)"
    case .unagreed: left = "key \(edit.key) is \(state)"
    }
    if let left {
      // A put with a larger revision leaves that in the record, whatever the key's state is.
      complain("\(left). \(result.kind == .changed ? "Only its revision was changed" : "Nothing was changed")")
      throw ExitCode.keyLeftAlone
    }
    print(done(state, result.kind == .unchanged ? " already" : "") + "; version \(outcome.version)")
  }
}
