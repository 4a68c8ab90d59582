import ArgumentParser
import CommandSupport
import KeyReplica
import KeyStore

struct Put: AsyncParsableCommand {
  static let configuration = CommandConfiguration(
    abstract: "Adds an active key.",
    discussion: """
      A key that is already in the store keeps its state and account, so a repeated or late put undoes no suspend or revoke. \
      To override this: --reactivate, --change-account. A key keeps its expiry unless --expires-at gives another one.
      """)

  @OptionGroup var store: StoreWriting
  @OptionGroup var key: KeyArguments
  @OptionGroup var basis: RevisionArguments

  private static let account = Setting<String>(
    "account", "The account that the key belongs to.", shown: "account", isRequired: true)
  @Option(help: Self.account.help) var account: String?

  private static let expiresAt = Setting<ExpiryArgument>(
    "expires-at",
    "When the key ends: a time with its zone such as 2026-12-31T23:59:59Z, or seconds since 1970. From then on it is refused, "
      + "by Redis's clock. never removes the expiry.", shown: "time",
    as: "a known key keeps its expiry; a new key has none")
  @Option(help: Self.expiresAt.help) var expiresAt: String?

  @Flag(help: .confirmation("Make a suspended or revoked key active again.")) var reactivate = false
  @Flag(help: .confirmation("Move a key that belongs to another account.")) var changeAccount = false

  func run() async throws {
    let settings = Settings()
    let account = try settings.value(Self.account, given: account)
    let expiry = try settings.optional(Self.expiresAt, given: expiresAt)?.change ?? .keep
    if let objection = KeyRecord.objection(toAccount: account) { throw ValidationError("--account: \(objection)") }
    let id = try key.resolve()
    let edit = KeyEdit.active(
      id, of: account, reactivates: reactivate, changesAccount: changeAccount, revision: try basis.number(),
      expiry: expiry)
    try await carryOut(edit, store, basedOn: try basis.basis.version()) { state, already in
      let end = expiry.applied(to: nil).map { ", and ends at \(Results.time($0))" } ?? ""
      return "key \(id) of \(account) is \(state)\(already)\(end)"
    }
  }
}

/// The end of a key, on the command line.
private struct ExpiryArgument: SettingValue {
  let change: ExpiryChange

  static let expectation = "\(ExpiryChange.expectation), or never"

  init(setting text: String) throws(InvalidSetting) {
    if text == "never" {
      change = .remove
    } else if let seconds = ExpiryChange.seconds(text) {
      change = .set(seconds)
    } else {
      throw InvalidSetting(expected: Self.expectation, came: text)
    }
  }
}
