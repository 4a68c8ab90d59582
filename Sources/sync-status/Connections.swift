import Fleet
import IngestQueue
import KeyStore
import Logging
import NIOCore
import NIOPosix
import RedisClient

/// Connections to the key store, to the fleet's reports, and to all shards of the queue. Each Redis has one connection,
/// for whatever is in it; in a cluster each of these has its own.
struct Connections {
  let keys: RedisClient
  let reports: RedisClient
  let shards: [(client: RedisClient, layout: QueueLayout)]
  private let all: [RedisClient]

  init(to endpoint: RedisEndpoint, namespace: Namespace, and shards: [QueueShard]) {
    var options = RedisOptions()
    options.name = "sync-status"
    options.commandDeadline = .seconds(2)
    // The subcommands report all errors themselves, in one sentence.
    let logger = Logger(label: "sync-status", factory: { _ in SwiftLogNoOpLogHandler() })
    let loop = MultiThreadedEventLoopGroup.singleton.any()
    let keys = RedisClient(
      endpoint: endpoint, options: options, routedBy: StoreLayout(namespace: namespace).slot, on: loop, logger: logger)
    let reports =
      endpoint.isCluster
      ? RedisClient(
        endpoint: endpoint, options: options, routedBy: FleetLayout(namespace: namespace).slot, on: loop,
        logger: logger)
      : keys
    (self.keys, self.reports) = (keys, reports)
    var all = endpoint.isCluster ? [keys, reports] : [keys]
    self.shards = shards.map { shard in
      if !shard.endpoint.isCluster, let client = all.first(where: { $0.endpoint == shard.endpoint }) {
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
