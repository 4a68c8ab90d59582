import ArgumentParser
import CommandSupport
import KeyReplica

struct Suspend: AsyncParsableCommand {
  static let configuration = CommandConfiguration(
    abstract: "Suspends a key, or all keys of an account. A revoked key stays revoked.",
    discussion: "activate makes it active again.")

  @OptionGroup var store: StoreWriting
  @OptionGroup var keys: KeysArguments
  @OptionGroup var basis: RevisionArguments

  func run() async throws { try await setState(.suspended, keys, store, basis) }
}
