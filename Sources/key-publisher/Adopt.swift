import ArgumentParser
import CommandSupport
import KeyReplica
import KeyStore

struct Adopt: AsyncParsableCommand {
  static let configuration = CommandConfiguration(
    abstract: "Says that this store replaces another one, so that the other one's nodes mirror this one.",
    discussion: """
      A node that has mirrored one store refuses and admits nobody on the word of another. When a store was lost and made \
      anew, say in the new one which store it replaces: by its ID, as the nodes and sync-status say it, or by its name. The nodes \
      learn it within 2 seconds. Keys that the new store doesn't have stay admitted until they are put, or until \
      key-publisher confirm.
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
      try results.print("nodes that mirrored \(other) mirror this store from now on", ["adopted": other])
    }
  }
}
