import ArgumentParser
import CommandSupport
import KeyReplica

struct Activate: AsyncParsableCommand {
  static let configuration = CommandConfiguration(
    abstract: "Makes suspended keys active again. A revoked key stays revoked.",
    discussion: """
      With --account all suspended keys of the account become active, including those that were suspended one by one before.
      """)

  @OptionGroup var store: StoreWriting
  @OptionGroup var keys: KeysArguments
  @OptionGroup var basis: RevisionArguments

  func run() async throws { try await setState(.active, keys, store, basis) }
}
