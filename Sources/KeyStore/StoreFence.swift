// The write and the wait that keep a deposed primary from proving anything; why is said in KeyReplica's Fence.

import Hiredis
import KeyReplica
import RedisClient

extension StoreLayout {
  /// How long the replicas have to confirm: they do within a round trip, or they aren't there.
  static let fenceWait = 500  // milliseconds

  /// The write must work on a full Redis, too, and must be a new one: WAIT is content with confirmations of old ones.
  private static let fenceWrite = "#!lua flags=allow-oom\nreturn redis.call('SET', KEYS[1], '1')"

  /// What is sent before a read that so many replicas must bear out; nothing where there are none.
  func fenceCommands(confirmedBy replicas: Int) -> [RedisCommand] {
    guard replicas > 0 else { return [] }
    return [
      RedisCommand("EVAL", Self.fenceWrite, "1", fence), RedisCommand("WAIT", replicas, Self.fenceWait),
    ]
  }

  /// - Parameter replies: Those to ``fenceCommands(confirmedBy:)``, to the read itself, and to ROLE.
  func fence(from replies: [RedisReply]) -> Fence {
    var fence = Fence.single
    do {
      let role = try replies[replies.count - 1].array()
      guard role.count == 3 else { throw UnreadableStore("expected three items of ROLE, but \(role.count) came") }
      // A server that has never had a replica counts no offset.
      fence.hasReplicas = try role[1].integer() > 0 || !role[2].array().isEmpty
      if replies.count == 4 {
        try replies[0].ok()
        fence.confirmations = Int(try replies[1].integer())
      }
    } catch {
      fence.hasReplicas = true
      fence.failure = "\(error)"
    }
    return fence
  }
}
