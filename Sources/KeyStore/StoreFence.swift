// The write and the wait that show which servers follow the one that was asked: for a publisher whose change is to be safe, and for a node
// that is about to refuse somebody. Why there is one is said in KeyReplica's Fence and in Replication.

import Hiredis
import KeyReplica
import NIOCore
import RedisClient

extension StoreLayout {
  /// How long replicas have to bear out a primary: they do within a round trip, or they aren't there.
  static let fenceWait = TimeAmount.milliseconds(500)

  /// A look at who follows, a write, and the wait for so many replicas to have it; to be sent as they are, in one go and in one
  /// conversation.
  ///
  /// What WAIT counts isn't taken: it counts programs that copy the data set as well. A replica that has acknowledged more than the first ROLE
  /// says was written by then has followed this server after that.
  /// - Parameters:
  ///   - copies: How many of these acknowledge, so that they aren't taken for the replicas that are waited for.
  ///   - source: How the server says who follows.
  func fenceCommands(
    acknowledgedBy replicas: Int, besides copies: Int, within limit: TimeAmount, _ source: RoleSource
  ) -> [RedisCommand] {
    // Not by its digest: where Redis doesn't know it nothing would be written, and WAIT would count what was acknowledged earlier.
    let write = fenceWrite
    // Zero milliseconds would be for ever.
    let wait = RedisCommand("WAIT", replicas + copies, max(1, limit.nanoseconds / 1_000_000))
    return [source.question(self), write, wait]
  }

  var fenceWrite: RedisCommand { FenceScript(layout: self).commandWithSource }

  /// How many replicas have confirmed the write.
  /// - Parameters:
  ///   - replies: Those to ``fenceCommands(acknowledgedBy:besides:within:_:)``.
  ///   - role: What the server said of itself after them.
  /// - Throws: What stood in the way of the write or of the wait.
  static func confirmations(
    from replies: ArraySlice<RedisReply>, then role: ServerRole, _ source: RoleSource
  ) throws -> Int {
    let (first, write, wait) = (replies.startIndex, replies.startIndex + 1, replies.startIndex + 2)
    _ = try replies[write].orThrow()
    if case .error(let error) = replies[wait], error.isDenial {
      throw UnreadableStore("WAIT can't be used here (\(error.message)): let Redis's user run it")
    }
    _ = try replies[wait].integer()
    return try role.acknowledged(since: try source.role(from: replies[first]))
  }

  /// The read of the position, borne out by so many replicas; where there are none, only the read.
  func fencedPositionCommands(
    confirmedBy replicas: Int, besides copies: Int, _ source: RoleSource
  ) -> [RedisCommand] {
    (replicas > 0 ? fenceCommands(acknowledgedBy: replicas, besides: copies, within: Self.fenceWait, source) : [])
      + [followersCommand, positionCommand, source.question(self)]
  }

  /// How many replicas were ever seen to follow.
  var followersCommand: RedisCommand { RedisCommand("GET", followers) }

  /// - Parameter reply: To ``followersCommand``.
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
  ///   - replies: Those to ``fencedPositionCommands(confirmedBy:besides:_:)``.
  ///   - role: What the last of them says.
  ///   - server: What was learned of the server beforehand.
  func fence(from replies: [RedisReply], role: ServerRole, server: ServerAccount, isWatched: Bool) -> Fence {
    var signs = ReplicaSigns(
      following: role.replicas, recorded: 0, hasFollowed: server.hasFollowed, isWatched: isWatched)
    // Where that can't be read, neither can the position be used: see the driver.
    if let recorded = try? Self.followers(from: replies[replies.count - 3]) { signs.recorded = recorded }
    var fence = Fence(confirmations: 0, signs: signs)
    guard replies.count == 6 else { return fence }
    do { fence.confirmations = try Self.confirmations(from: replies[..<3], then: role, server.source) } catch {
      fence.failure = "\(error)"
    }
    return fence
  }
}
