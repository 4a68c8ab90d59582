import ArgumentParser
import CommandSupport
import KeyReplica
import KeyStore

struct Position: AsyncParsableCommand {
  static let configuration = CommandConfiguration(
    abstract: "Prints the store's version: the number of its last change.",
    discussion: """
      Read it before you make a list, and give it as --as-of when you apply the list: keys that are changed in between then \
      stay as they are. If there is no store, the version is 0.
      """)

  @OptionGroup var store: StoreAccess

  private struct Result: Encodable {
    var version: UInt64
    var store: String?
    var name: String?
    var epoch: String?
    var keys: Int
    var sealed: Bool
  }

  func run() async throws {
    let results = try store.results()
    try await store.run { connection, layout in
      switch try await connection.storePosition(layout) {
      case .found(let position):
        try results.print(
          "\(position.version)",
          Result(
            version: position.version, store: position.store.id, name: position.store.name, epoch: position.epoch,
            keys: position.count, sealed: position.sealed))
      case .noStore: try results.print("0", Result(version: 0, keys: 0, sealed: false))
      case .incompatible(let why):
        complain(why)
        throw ExitStatus.failed.code
      }
    }
  }
}
