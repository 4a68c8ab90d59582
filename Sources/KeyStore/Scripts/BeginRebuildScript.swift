import Hiredis
import RedisClient

/// Closes the store to nodes and publishers, so that it can be rebuilt: begin_rebuild.lua.
struct BeginRebuildScript: ScriptCall {
  static let script = RedisScript(name: "beginRebuild", source: LuaScripts.beginRebuild)

  let layout: StoreLayout
  /// The new epoch.
  let epoch: String
  /// The latest version seen in a bucket.
  let latestVersion: UInt64

  var keys: [String] { [layout.meta, layout.changes, layout.rebuild] }

  var arguments: [any RedisArgument] {
    [StoreLayout.schema, StoreLayout.bucketCount, epoch, Int64(latestVersion)]
  }

  func read(_ reply: RedisReply) throws { _ = try reply.orThrow() }
}
