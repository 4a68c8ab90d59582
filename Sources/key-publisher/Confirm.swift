import ArgumentParser
import CommandSupport
import KeyStore

struct Confirm: AsyncParsableCommand {
  static let configuration = CommandConfiguration(
    abstract: "Confirms all removals and losses so far, so that nodes apply what they hold back.",
    discussion: """
      Nodes hold back removals of unusually many keys, and any key whose record vanished from the store without being revoked. \
      They also report keys that a restored backup has made active again. confirm accepts all of this: nodes apply the held \
      removals and no longer report these keys.
      """)

  @OptionGroup var store: StoreWriting

  func run() async throws {
    let results = try store.results()
    try await store.run { connection, layout in
      let version = try await KeyStoreWriter(connection: connection, layout: layout).confirmRemovals()
      try results.print("all removals up to version \(version) are confirmed", ["version": version])
    }
  }
}
