import Hiredis
import RedisClient

/// Stores the number of distinct unknown keys that an operator confirms: confirm_unknown.lua.
struct ConfirmUnknownScript: ScriptCall {
  static let script = RedisScript(name: "confirmUnknown", source: LuaScripts.confirmUnknown)

  let layout: StoreLayout
  let number: Int

  var keys: [String] { [layout.meta, layout.changes] }
  var arguments: [any RedisArgument] { [StoreLayout.schema, StoreLayout.bucketCount, number] }

  func read(_ reply: RedisReply) throws { _ = try reply.orThrow() }
}
