import ArgumentParser
import CommandSupport
import KeyReplica

/// Which keys a verb is about: one, or all of an account.
struct KeysArguments: ParsableArguments {
  @OptionGroup var key: KeyArguments

  // Not in the environment: a variable that is there for put must not widen what one key was meant for.
  @Option(help: ArgumentHelp("All keys of this account (only on the command line).", valueName: "account"))
  var account: String?

  @Flag(help: "With --account: count the keys, and change nothing.") var dryRun = false

  enum Choice {
    case key(KeyID)
    case account(String)
  }

  /// Whether the command line names none.
  var isEmpty: Bool { key.isEmpty && account == nil }

  func resolve() throws -> Choice {
    guard let account else {
      guard !dryRun else { throw ValidationError("--dry-run needs --account") }
      return .key(try key.resolve())
    }
    guard key.isEmpty else { throw ValidationError("expected either --account, or --key or --key-id") }
    if let objection = KeyRecord.objection(toAccount: account) { throw ValidationError("--account: \(objection)") }
    return .account(account)
  }
}
