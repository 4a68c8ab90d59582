// The write and the WAIT that show which servers follow the primary. A publisher uses them to confirm a change, and a
// node before it refuses a key. KeyReplica's Fence and Replication explain why.

import Hiredis
import KeyReplica
import NIOCore
import RedisClient

extension StoreLayout {
  /// Maximum wait for replicas to confirm a primary. A connected replica confirms within a round trip.
  static let fenceWait = TimeAmount.milliseconds(500)

  /// A read of the replicas, a write, and a WAIT for a number of replicas to have it. Must be sent unchanged, in one
  /// write and on one connection.
  ///
  /// WAIT's number isn't used, because it includes programs that copy the data set. If a replica has acknowledged more
  /// than had been written at the first ROLE, it has followed this server after that.
  /// - Parameters:
  ///   - copies: How many such programs acknowledge: WAIT waits for as many more.
  ///   - source: The command that lists the replicas.
  func fenceCommands(
    acknowledgedBy replicas: Int, besides copies: Int, within limit: TimeAmount, _ source: RoleSource
  ) -> [RedisCommand] {
    // The script is sent in full. Sent as a digest to a Redis without the script, it would write nothing, and WAIT
    // would count earlier acknowledgements.
    let write = fenceWrite
    // Zero milliseconds would mean no limit.
    let wait = RedisCommand("WAIT", replicas + copies, max(1, limit.nanoseconds / 1_000_000))
    return [source.question(self), write, wait]
  }

  var fenceWrite: RedisCommand { FenceScript(layout: self).commandWithSource }

  /// How many replicas have confirmed the write.
  /// - Parameters:
  ///   - replies: The replies to ``fenceCommands(acknowledgedBy:besides:within:_:)``.
  ///   - role: The server's role after them.
  /// - Throws: The error of the write or of the wait.
  static func confirmations(
    from replies: ArraySlice<RedisReply>, then role: ServerRole, _ source: RoleSource
  ) throws -> Int {
    let (first, write, wait) = (replies.startIndex, replies.startIndex + 1, replies.startIndex + 2)
    _ = try replies[write].orThrow()
    if case .error(let error) = replies[wait], error.isDenial {
      throw UnreadableStore("WAIT can't be used here (\(error.message)): allow it for Redis's user")
    }
    _ = try replies[wait].integer()
    return try role.acknowledged(since: try source.role(from: replies[first]))
  }

  /// The read of the position, after a write that this number of replicas must confirm; with 0, only the read.
  func fencedPositionCommands(
    confirmedBy replicas: Int, besides copies: Int, _ source: RoleSource
  ) -> [RedisCommand] {
    (replicas > 0 ? fenceCommands(acknowledgedBy: replicas, besides: copies, within: Self.fenceWait, source) : [])
      + [followersCommand, positionCommand, source.question(self)]
  }

  /// The recorded number of replicas.
  var followersCommand: RedisCommand { RedisCommand("GET", followers) }

  /// - Parameter reply: The reply to ``followersCommand``.
  static func followers(from reply: RedisReply) throws -> Int {
    guard let text = try reply.stringOrNull() else { return 0 }
    guard let number = Int(text), number >= 0 else {
      throw UnreadableStore("expected the number of replicas that have followed, got \"\(text.prefix(32))\"")
    }
    return number
  }

  func recordCommand(followers count: Int) -> RedisCommand {
    RecordFollowersScript(layout: self, followers: count).commandWithSource
  }

  /// - Parameters:
  ///   - replies: The replies to ``fencedPositionCommands(confirmedBy:besides:_:)``.
  ///   - role: The role in the last reply.
  ///   - server: The properties of the server when the connection was opened.
  func fence(from replies: [RedisReply], role: ServerRole, server: ServerAccount, isWatched: Bool) -> Fence {
    var signs = ReplicaSigns(
      following: role.replicas, recorded: 0, hasFollowed: server.hasFollowed, isWatched: isWatched)
    // If this reply is unreadable, the position can't be used either: see the driver.
    if let recorded = try? Self.followers(from: replies[replies.count - 3]) { signs.recorded = recorded }
    var fence = Fence(confirmations: 0, signs: signs)
    guard replies.count == 6 else { return fence }
    do { fence.confirmations = try Self.confirmations(from: replies[..<3], then: role, server.source) } catch {
      fence.failure = "\(error)"
    }
    return fence
  }
}
