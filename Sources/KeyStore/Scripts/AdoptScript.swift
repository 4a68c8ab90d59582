import Hiredis
import RedisClient

/// Says that the store replaces another one: adopt.lua.
struct AdoptScript: ScriptCall {
  static let script = RedisScript(name: "adopt", source: LuaScripts.adopt)

  let layout: StoreLayout
  /// The ID or name of the other store.
  let other: String

  var keys: [String] { [layout.meta, layout.changes] }
  var arguments: [any RedisArgument] { [StoreLayout.schema, StoreLayout.bucketCount, other] }

  func read(_ reply: RedisReply) throws { _ = try reply.string() }
}
