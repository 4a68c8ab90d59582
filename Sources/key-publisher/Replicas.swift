import ArgumentParser
import CommandSupport
import KeyStore

struct Replicas: AsyncParsableCommand {
  static let configuration = CommandConfiguration(
    abstract: "Declares how many replicas this Redis has.",
    discussion: """
      A change then counts as confirmed when all replicas have it, because a failover may promote any of them. Nodes answer \
      401 and 403 only while a majority follows the primary, and 503 otherwise. Count every replica, also one that is never \
      promoted: Redis doesn't say which replica acknowledged a change. 0: changes need no confirmation.
      """)

  @OptionGroup var store: StoreWriting
  @Argument(help: "The number of replicas, 0 to 32.") var number: Int

  func validate() throws {
    guard (0...Replication.replicaLimit).contains(number) else {
      throw ValidationError("expected 0 to \(Replication.replicaLimit) replicas, got \(number)")
    }
  }

  func run() async throws {
    let results = try store.results()
    try await store.run { connection, layout in
      try await Replication(connection: connection, layout: layout).declare(replicas: number)
      try results.print("\(number) replicas are declared", ["replicas": number])
    }
  }
}
