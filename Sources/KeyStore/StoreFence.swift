// The write and the wait that show which servers follow the one that was asked: for a publisher whose change is to be safe, and for a node
// that is about to refuse somebody. Why there is one is said in KeyReplica's Fence and in Replication.

import Hiredis
import KeyReplica
import NIOCore
import RedisClient

extension StoreLayout {
  /// How long replicas have to bear out a primary: they do within a round trip, or they aren't there.
  static let fenceWait = TimeAmount.milliseconds(500)

  private static let fenceValue = "1"

  /// A write, and the wait for so many replicas to have it; to be sent as they are, in one go and in one conversation.
  func fenceCommands(acknowledgedBy replicas: Int, within limit: TimeAmount) -> [RedisCommand] {
    // Not by its digest: where Redis doesn't know it nothing would be written, and WAIT would count what was acknowledged earlier.
    let write = StoreScripts.fence.commandWithSource(keys: [fence], arguments: [Self.fenceValue])
    // Zero milliseconds would be for ever.
    return [write, RedisCommand("WAIT", replicas, max(1, limit.nanoseconds / 1_000_000))]
  }

  /// The read of the position, borne out by so many replicas; where there are none, only the read.
  func fencedPositionCommands(confirmedBy replicas: Int) -> [RedisCommand] {
    (replicas > 0 ? fenceCommands(acknowledgedBy: replicas, within: Self.fenceWait) : [])
      + [positionCommand, RedisCommand("ROLE")]
  }

  /// - Parameters:
  ///   - replies: Those to ``fencedPositionCommands(confirmedBy:)``.
  ///   - role: What the last of them says.
  func fence(from replies: [RedisReply], role: ServerRole) -> Fence {
    var fence = Fence(confirmations: 0, hasReplicas: role.hasReplicas)
    guard replies.count == 4 else { return fence }
    do {
      _ = try replies[0].orThrow()
      fence.confirmations = Int(try replies[1].integer())
    } catch {
      fence.failure = "\(error)"
    }
    return fence
  }
}

/// What a server says of itself.
struct ServerRole {
  /// `master`, `slave` or `sentinel`.
  let name: String
  /// How many replicas follow it now.
  let attached: Int
  /// Whether one follows it, or ever did: a server that never had one counts no offset.
  let hasReplicas: Bool

  /// - Parameter reply: To ROLE.
  init(_ reply: RedisReply) throws {
    let items = try reply.array()
    guard let name = try items.first?.string() else { throw UnreadableStore("expected a role, but nothing came") }
    self.name = name
    guard name == "master" else {
      (attached, hasReplicas) = (0, false)
      return
    }
    guard items.count == 3 else {
      throw UnreadableStore("expected a primary's offset and replicas, but \(items.count) items came")
    }
    attached = try items[2].array().count
    hasReplicas = try attached > 0 || items[1].integer() > 0
  }
}
