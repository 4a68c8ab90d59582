internal import Hiredis
internal import RedisClient

/// Ends all workers' claims whose lease has ended, and moves their envelopes back to the queue: reap.lua.
struct ReapScript: ScriptCall {
  static let script = RedisScript(name: "reap", source: LuaScripts.reap)

  let layout: QueueLayout
  /// Maximum envelopes that are moved.
  let envelopes: Int
  /// Deaths after which an envelope is a dead letter.
  let deaths: Int
  /// How long a worker without claims stays on the list after it was last seen.
  let forgetAfter: Duration
  /// This worker's lease.
  let lease: Duration

  var keys: [String] {
    [
      layout.workers, layout.pending(0), layout.dead, layout.failures, layout.deadBytes, layout.bytes, layout.later,
      layout.stats, layout.pending(QueueLayout.suspects),
    ]
  }

  var arguments: [any RedisArgument] {
    [
      layout.claimPrefix, envelopes, deaths, QueueLayout.slots, forgetAfter.milliseconds, lease.milliseconds,
      QueueLayout.suspects,
    ]
  }

  func read(_ reply: RedisReply) throws -> Reaping {
    let items = try reply.array()
    var reaping = Reaping()
    reaping.putBack = Int(try items.item(0).integer())
    reaping.dead = Int(try items.item(1).integer())
    reaping.claims = Int(try items.item(2).integer())
    reaping.isUnfinished = try items.item(3).integer() == 1
    reaping.forgotten = Int(try items.item(4).integer())
    reaping.strange = try items.item(5).array().map { try $0.string() }
    return reaping
  }
}
