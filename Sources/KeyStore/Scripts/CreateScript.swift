import Hiredis
import RedisClient

/// Creates a store, unless there is one: create.lua.
struct CreateScript: ScriptCall {
  static let script = RedisScript(name: "create", source: LuaScripts.create)

  let layout: StoreLayout
  let epoch: String
  /// False to check only whether a store could be created.
  let begins: Bool

  var keys: [String] { [layout.meta, layout.changes] + layout.allBuckets }
  var arguments: [any RedisArgument] { [StoreLayout.schema, StoreLayout.bucketCount, epoch, begins ? 1 : 0] }

  /// - Returns: Whether there is a store now.
  func read(_ reply: RedisReply) throws -> Bool { try reply.integer() == 1 }
}
