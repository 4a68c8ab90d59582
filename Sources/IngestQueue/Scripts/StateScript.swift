internal import Hiredis
internal import RedisClient

/// Reads the content of a shard: state.lua.
struct StateScript: ScriptCall {
  static let script = RedisScript(name: "state", source: LuaScripts.state)

  let layout: QueueLayout

  var keys: [String] {
    [layout.later, layout.dead, layout.failures, layout.workers, layout.stats] + layout.pending
  }

  var arguments: [any RedisArgument] { [layout.claimPrefix, QueueLayout.slots] }

  func read(_ reply: RedisReply) throws -> QueueState {
    let items = try reply.array()
    let receivedAt = try items.item(5).integer()
    return QueueState(
      readAt: try items.item(0).integer(), lists: try items.item(1).array().map { try $0.integer() },
      later: try items.item(2).integer(), dead: try items.item(3).integer(), failing: try items.item(4).integer(),
      oldestReceivedAt: receivedAt < 0 ? nil : receivedAt,
      workers: try items.item(6).array().map { try Self.worker($0.array()) },
      claims: try items.item(7).array().map { try Self.claim($0.array()) }, done: try items.item(8).integer())
  }

  private static func worker(_ fields: [RedisReply]) throws -> QueueState.Worker {
    QueueState.Worker(
      name: try fields.item(0).string(), instance: try fields.item(1).string(), seenAt: try fields.item(2).integer())
  }

  private static func claim(_ fields: [RedisReply]) throws -> QueueState.Claim {
    QueueState.Claim(
      worker: try fields.item(0).string(), slot: Int(try fields.item(1).integer()),
      envelopes: try fields.item(2).integer(), instance: try fields.item(3).string(),
      leaseUntil: try fields.item(4).integer(), claimedAt: try fields.item(5).integer())
  }
}
