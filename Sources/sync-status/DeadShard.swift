import Fleet
import IngestQueue
import NIOCore
import RedisClient

/// A shard's dead letters, and what to call it.
struct DeadShard {
  let place: String
  let letters: DeadLetters

  var number: Int { letters.layout.shard }
}

extension FleetAccess.Fleet {
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
