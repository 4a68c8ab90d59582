import ArgumentParser
import CommandSupport
import KeyReplica
import KeyStore

struct Adopt: AsyncParsableCommand {
  static let configuration = CommandConfiguration(
    abstract: "Declares that this store replaces another one, so that nodes of the other store mirror this one.",
    discussion: """
      A node that mirrors one store ignores any other store: known keys stay admitted, all other keys are answered 503. If \
      you had to create a new store, run adopt on it with the name of the lost store, or with its ID, which the nodes' log and \
      sync-status show. The nodes follow within 2 seconds, and key-publisher follow fills this store instead of the other \
      one. Keys that the new store doesn't have stay admitted until they are put, or until key-publisher confirm.
      """)

  @OptionGroup var store: StoreWriting
  @Argument(help: "The ID or the name of the store that this one replaces.") var other: String

  func validate() throws {
    guard StoreIdentity.isID(other) || StoreIdentity.objection(toName: other) == nil else {
      throw ValidationError("expected the ID or the name of a store, got \"\(other)\"")
    }
  }

  func run() async throws {
    let results = try store.results()
    try await store.run { connection, layout in
      try await KeyStoreWriter(connection: connection, layout: layout).adopt(other)
      try results.print("adopted: nodes of \(other) will mirror this store within 2 seconds", ["adopted": other])
    }
  }
}
