// The verbs about a single key. Each of them may be sent again, by a queue or an impatient person, when others have
// changed the key since. So none undoes what somebody else did unless it says that it is meant to, and the store
// decides that in the step that would make the change: exit status 4 and a sentence say what stands against it.

import ArgumentParser
import KeyReplica
import KeyStore
import CommandSupport

/// What a change rests on.
struct BasisArguments: ParsableArguments {
  private static let ifVersion = Setting<Int>(
    "if-version",
    "Leave a key alone that was changed after this version of the store; each verb and key-publisher verify say which it is at.",
    shown: "version", in: 0...(1 << 53))
  @Option(help: Self.ifVersion.help) var ifVersion: String?

  func version() throws -> UInt64? { try Settings().optional(Self.ifVersion, given: ifVersion).map { UInt64($0) } }
}

/// What a change of one key rests on.
struct RevisionArguments: ParsableArguments {
  @OptionGroup var basis: BasisArguments

  private static let revision = Setting<Int>(
    "revision",
    "Your database's number for this change, which grows with each change of the key: a larger one in the store wins.",
    shown: "number", in: 0...Int(KeyRecord.revisionLimit))
  @Option(help: Self.revision.help) var revision: String?

  func number() throws -> UInt64? { try Settings().optional(Self.revision, given: revision).map { UInt64($0) } }
}

struct Put: AsyncParsableCommand {
  static let configuration = CommandConfiguration(
    abstract: "Adds an active key.",
    discussion: """
      A key that is in the store already stays in its state and with its account: a put that is repeated or comes late \
      undoes no suspend and no revoke. --reactivate and --change-account say that it is meant to.
      """)

  @OptionGroup var store: StoreWriting
  @OptionGroup var key: KeyArguments
  @OptionGroup var basis: RevisionArguments

  private static let account = Setting<String>(
    "account", "The account that the key belongs to.", shown: "account", isRequired: true)
  @Option(help: Self.account.help) var account: String?

  // Not in the environment: what overrules somebody else's decision is said with each command.
  @Flag(help: "Make a suspended or revoked key active again.") var reactivate = false
  @Flag(help: "Move a key that belongs to another account.") var changeAccount = false

  func run() async throws {
    let account = try Settings().value(Self.account, given: account)
    if let objection = KeyRecord.objection(toAccount: account) { throw ValidationError("--account: \(objection)") }
    let id = try key.resolve()
    var edit = KeyEdit(key: id, kind: .put(account: account, reactivate ? .active : nil), revision: try basis.number())
    if reactivate { edit.allowing.insert(.reactivate) }
    if changeAccount { edit.allowing.insert(.move) }
    try await carryOut(edit, store, basedOn: try basis.basis.version()) { result in
      guard result.state == .active || changeAccount && result.kind == .changed else {
        return
          "key \(id) is \(result.state?.word ?? "unreadable"), and a put leaves it so; say --reactivate to make it active"
      }
      return nil
    } done: { state, already in
      "key \(id) of \(account) is \(state)\(already)"
    }
  }
}

struct Suspend: AsyncParsableCommand {
  static let configuration = CommandConfiguration(
    abstract: "Suspends a key; put --reactivate makes it active again. A revoked key stays revoked.")

  @OptionGroup var store: StoreWriting
  @OptionGroup var key: KeyArguments
  @OptionGroup var basis: RevisionArguments

  func run() async throws { try await setState(.suspended, key, store, basis) }
}

struct Revoke: AsyncParsableCommand {
  static let configuration = CommandConfiguration(
    abstract: "Revokes a key permanently; only put --reactivate makes it active again.")

  @OptionGroup var store: StoreWriting
  @OptionGroup var key: KeyArguments
  @OptionGroup var basis: RevisionArguments

  func run() async throws { try await setState(.revoked, key, store, basis) }
}

private func setState(
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
private func carryOut(
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
