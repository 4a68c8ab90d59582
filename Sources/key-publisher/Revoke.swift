import ArgumentParser
import CommandSupport
import KeyReplica

struct Revoke: AsyncParsableCommand {
  static let configuration = CommandConfiguration(
    abstract: "Revokes a key permanently; only put --reactivate makes it active again.")

  @OptionGroup var store: StoreWriting
  @OptionGroup var key: KeyArguments
  @OptionGroup var basis: RevisionArguments

  func run() async throws { try await setState(.revoked, key, store, basis) }
}
