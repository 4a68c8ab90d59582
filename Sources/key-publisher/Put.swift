import ArgumentParser
import CommandSupport
import KeyReplica
import KeyStore

struct Put: AsyncParsableCommand {
  static let configuration = CommandConfiguration(
    abstract: "Adds an active key.",
    discussion: """
      A key that is already in the store keeps its state and account, so a repeated or late put undoes no suspend or revoke. \
      To override this: --reactivate, --change-account.
      """)

  @OptionGroup var store: StoreWriting
  @OptionGroup var key: KeyArguments
  @OptionGroup var basis: RevisionArguments

  private static let account = Setting<String>(
    "account", "The account that the key belongs to.", shown: "account", isRequired: true)
  @Option(help: Self.account.help) var account: String?

  @Flag(help: .confirmation("Make a suspended or revoked key active again.")) var reactivate = false
  @Flag(help: .confirmation("Move a key that belongs to another account.")) var changeAccount = false

  func run() async throws {
    let account = try Settings().value(Self.account, given: account)
    if let objection = KeyRecord.objection(toAccount: account) { throw ValidationError("--account: \(objection)") }
    let id = try key.resolve()
    let edit = KeyEdit.active(
      id, of: account, reactivates: reactivate, changesAccount: changeAccount, revision: try basis.number())
    try await carryOut(edit, store, basedOn: try basis.basis.version()) { state, already in
      "key \(id) of \(account) is \(state)\(already)"
    }
  }
}
