import ArgumentParser
import CommandSupport
import KeyStore

struct Confirm: AsyncParsableCommand {
  static let configuration = CommandConfiguration(
    abstract: "Confirms all removals so far, so that nodes that held back a mass removal apply it.")

  @OptionGroup var store: StoreWriting

  func run() async throws {
    let results = try store.results()
    try await store.run { connection, layout in
      let version = try await KeyStoreWriter(connection: connection, layout: layout).confirmRemovals()
      try results.print("all removals up to version \(version) are confirmed", ["version": version])
    }
  }
}
