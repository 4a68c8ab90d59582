import ArgumentParser
import Fleet
import IngestQueue
import Logging
import NIOCore
import NIOPosix
import RedisClient
import Sluice

/// What the verbs that have to do with the queue need: which Redis, which shards, and connections to them.
struct QueueAccess: ParsableArguments {
  @OptionGroup var redis: RedisArguments
  @OptionGroup var queue: QueueArguments

  /// - Throws: What the body throws, or `ValidationError`.
  func run(_ body: (Queue) async throws -> Void) async throws {
    let settings = Settings()
    let endpoint = try redis.endpoint(settings)
    let namespace = try redis.namespace(settings)
    let shards = try queue.shards(settings, redis: endpoint, namespace: namespace)
    var clients: [RedisClient] = []
    defer { for client in clients { client.shutDown() } }
    // One for each Redis, however many shards it has.
    func client(of endpoint: RedisEndpoint) -> RedisClient {
      if let client = clients.first(where: { $0.endpoint == endpoint }) { return client }
      var options = RedisOptions()
      options.name = "sync-status"
      options.commandDeadline = .seconds(2)
      let client = RedisClient(
        endpoint: endpoint, options: options, on: MultiThreadedEventLoopGroup.singleton.any(),
        logger: Logger(label: "sync-status", factory: { _ in SwiftLogNoOpLogHandler() }))
      clients.append(client)
      return client
    }
    try await body(
      Queue(
        fleet: FleetDirectory(client: client(of: endpoint), layout: FleetLayout(namespace: namespace)),
        shards: shards.map { (client(of: $0.endpoint), $0.layout) }))
  }

  struct Queue {
    let fleet: FleetDirectory
    let shards: [(client: RedisClient, layout: QueueLayout)]

    /// The dead letters of all shards that can be reached.
    /// - Returns: Also whether that is all of them; of the others it has been said why not.
    func deadLetters() async -> (shards: [DeadShard], areAll: Bool) {
      var reached: [DeadShard] = []
      var areAll = true
      // All asked before any is waited for, so that those that are away cost their deadline once.
      let asked = shards.map { shard in (shard, shard.client.connection(within: .seconds(2))) }
      for ((client, layout), connection) in asked {
        let place = "shard \(layout.shard) in \(client.endpoint)"
        do {
          _ = try await connection.get()
          reached.append(DeadShard(place: place, letters: DeadLetters(client: client, layout: layout)))
        } catch {
          complain("cannot tell: \(place): \(error)")
          areAll = false
        }
      }
      return (reached, areAll)
    }
  }
}

/// A shard's dead letters, and what to call it.
struct DeadShard {
  let place: String
  let letters: DeadLetters

  var number: Int { letters.layout.shard }
}
