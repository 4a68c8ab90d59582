internal import Hiredis
internal import RedisClient

/// Reads which accounts have most bytes of dead letters: dead_letter_bytes.lua.
struct DeadLetterBytesScript: ScriptCall {
  static let script = RedisScript(name: "dead letters' bytes", source: LuaScripts.deadLetterBytes)

  let layout: QueueLayout
  /// Maximum accounts.
  let accounts: Int

  var keys: [String] { [layout.dead, layout.deadBytes] }
  var arguments: [any RedisArgument] { [accounts] }

  func read(_ reply: RedisReply) throws -> AccountBytes { try AccountBytes(members: reply.array()) }
}
