import Hiredis
import RedisClient

/// Declares how many replicas could become primary: replicas.lua.
struct ReplicasScript: ScriptCall {
  static let script = RedisScript(name: "replicas", source: LuaScripts.replicas)

  let layout: StoreLayout
  let replicas: Int

  var keys: [String] { [layout.meta, layout.changes] }
  var arguments: [any RedisArgument] { [StoreLayout.schema, StoreLayout.bucketCount, replicas] }

  func read(_ reply: RedisReply) throws { _ = try reply.orThrow() }
}
