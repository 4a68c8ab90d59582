import ArgumentParser
import CommandSupport
import KeyReplica
import KeyStore
import RedisClient

struct Create: AsyncParsableCommand {
  static let configuration = CommandConfiguration(
    abstract: "Creates an empty store with a name, or names the existing store.",
    discussion: """
      Nodes that are started with --store NAME ignore a store with another name. A store that has a name keeps it. create \
      doesn't seal the store: until it is sealed, unknown keys are answered 503, not 401.
      """)

  @OptionGroup var store: StoreWriting
  @OptionGroup var naming: NameArguments

  func validate() throws {
    if try naming.resolve() == nil { throw ValidationError("--name: give the store's name") }
  }

  func run() async throws {
    let results = try store.results()
    guard let name = try naming.resolve() else { return }
    try await store.run { connection, layout in
      let isNew = try await KeyStoreWriter(connection: connection, layout: layout).name(name)
      let identity = try await identity(connection, layout)
      try results.print(
        "the store is named \(name)\(isNew ? "" : " already"); its ID is \(identity.id)",
        NamedStore(id: identity.id, name: name, changed: isNew))
    }
  }

  private func identity(_ connection: RedisConnection, _ layout: StoreLayout) async throws -> StoreIdentity {
    switch try await connection.storePosition(layout) {
    case .found(let position): return position.store
    case .noStore, .incompatible:
      complain("the store was deleted or replaced by another program after it was named")
      throw ExitStatus.tryAgain.code
    }
  }
}

private struct NamedStore: Encodable {
  var id: String
  var name: String
  /// Whether this command named it.
  var changed: Bool
}

/// The store's name, for the verbs that may begin a store.
struct NameArguments: ParsableArguments {
  // Not from the environment, where SLUICE_NAME is the name of a node or worker.
  @Option(
    help: .commandLineOnly(
      "The store's name: letters, digits, dots, hyphens and underscores. A store without a name gets it; if the store has "
        + "another name, nothing is changed.", valueName: "name"))
  var name: String?

  func resolve() throws -> String? {
    guard let name else { return nil }
    if let objection = StoreIdentity.objection(toName: name) { throw ValidationError("--name: \(objection)") }
    return name
  }
}
