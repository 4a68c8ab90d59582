import ArgumentParser
import CommandSupport
import KeyReplica

/// Selects the keys of a verb: one, or all of an account.
struct KeysArguments: ParsableArguments {
  @OptionGroup var key: KeyArguments

  // Not from the environment: a variable that was set for put must not extend a command for one key to the whole
  // account.
  @Option(help: .commandLineOnly("All keys of this account.", valueName: "account"))
  var account: String?

  @Flag(help: .commandLineOnly("With --account: count the keys, and change nothing.")) var dryRun = false

  enum Choice {
    case key(KeyID)
    case account(String)
  }

  /// Whether no key was given on the command line.
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
