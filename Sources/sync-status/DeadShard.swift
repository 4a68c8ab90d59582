import Fleet
import IngestQueue
import NIOCore
import RedisClient

/// A shard's dead letters, and its name.
struct DeadShard {
  let place: String
  let letters: DeadLetters

  var number: Int { letters.layout.shard }
}

extension FleetAccess.Fleet {
  /// The dead letters of all reachable shards.
  /// - Returns: Also whether these are all shards; errors of the others have been reported.
  func deadLetters() async -> (shards: [DeadShard], areAll: Bool) {
    var reached: [DeadShard] = []
    var areAll = true
    // All are asked before waiting for any, so that unreachable ones cost their deadline once.
    let asked = shards.map { shard in (shard, shard.client.connection(within: .seconds(2))) }
    for ((client, layout), connection) in asked {
      let place = "shard \(layout.shard) in \(client.endpoint)"
      do {
        _ = try await connection.get()
        reached.append(DeadShard(place: place, letters: DeadLetters(client: client, layout: layout)))
      } catch {
        complain("unknown: \(place): \(error)")
        areAll = false
      }
    }
    return (reached, areAll)
  }
}
