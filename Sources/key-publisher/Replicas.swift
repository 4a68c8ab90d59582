import ArgumentParser
import CommandSupport
import KeyStore

struct Replicas: AsyncParsableCommand {
  static let configuration = CommandConfiguration(
    abstract: "Declares how many replicas of this Redis could be promoted.",
    discussion: """
      From then on a change is done when all of them have it, since a failover may promote any of them, and a node refuses \
      a key only while a majority of them follows the primary. Count replicas that are never promoted as well: Redis \
      doesn't say which replica has acknowledged a change. 0 takes it back.
      """)

  @OptionGroup var store: StoreWriting
  @Argument(help: "How many: 0 to 32.") var number: Int

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
