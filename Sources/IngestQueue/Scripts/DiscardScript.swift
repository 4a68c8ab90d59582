internal import Hiredis
internal import RedisClient

/// Removes dead letters, readable or not: discard.lua.
struct DiscardScript: ScriptCall {
  static let script = RedisScript(name: "discard dead letters", source: LuaScripts.discard)

  let layout: QueueLayout
  /// After this number of bytes no further one is removed.
  let bytes: Int
  let entries: [DeadLetter.Entry]

  var keys: [String] { [layout.dead, layout.stats, layout.deadBytes] }
  var arguments: [any RedisArgument] { [bytes] as [any RedisArgument] + entries.map { "\($0)" } }

  /// - Returns: The result for each dead letter that was examined.
  func read(_ reply: RedisReply) throws -> [DeadLetterTally.Outcome] {
    try reply.array().map { try DeadLetterTally.Outcome($0) }
  }
}
