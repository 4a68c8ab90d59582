import ArgumentParser
import CommandSupport
import KeyReplica

struct Suspend: AsyncParsableCommand {
  static let configuration = CommandConfiguration(
    abstract: "Suspends a key; put --reactivate makes it active again. A revoked key stays revoked.")

  @OptionGroup var store: StoreWriting
  @OptionGroup var key: KeyArguments
  @OptionGroup var basis: RevisionArguments

  func run() async throws { try await setState(.suspended, key, store, basis) }
}
