import Hiredis
import RedisClient

/// A write without meaning, for replicas to acknowledge: fence.lua.
struct FenceScript: ScriptCall {
  static let script = RedisScript(name: "fence", source: LuaScripts.fence)

  let layout: StoreLayout

  var keys: [String] { [layout.fence] }
  var arguments: [any RedisArgument] { ["1"] }

  func read(_ reply: RedisReply) throws { _ = try reply.orThrow() }
}
