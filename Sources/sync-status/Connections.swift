import IngestQueue
import Logging
import NIOCore
import NIOPosix
import RedisClient

/// Connections to the Redis of the keys and of the fleet, and to all shards of the queue: one for each Redis however many shards it has, and in
/// a cluster one for each shard.
struct Connections {
  /// To the Redis of the keys and of the fleet.
  let home: RedisClient
  let shards: [(client: RedisClient, layout: QueueLayout)]
  private let all: [RedisClient]

  init(to endpoint: RedisEndpoint, and shards: [QueueShard]) {
    var options = RedisOptions()
    options.name = "sync-status"
    options.commandDeadline = .seconds(2)
    // Whatever goes wrong is said by the verbs themselves, in one sentence.
    let logger = Logger(label: "sync-status", factory: { _ in SwiftLogNoOpLogHandler() })
    let loop = MultiThreadedEventLoopGroup.singleton.any()
    home = RedisClient(endpoint: endpoint, options: options, on: loop, logger: logger)
    var all = [home]
    self.shards = shards.map { shard in
      if !shard.isInCluster, let client = all.first(where: { $0.endpoint == shard.endpoint }) {
        return (client, shard.layout)
      }
      let client = shard.client(options: options, on: loop, logger: logger)
      all.append(client)
      return (client, shard.layout)
    }
    self.all = all
  }

  func shutDown() {
    for client in all { client.shutDown() }
  }
}
