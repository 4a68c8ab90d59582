import Hiredis
import RedisClient

/// Tells all replicas that all removals up to this version are intended: confirm.lua.
struct ConfirmScript: ScriptCall {
  static let script = RedisScript(name: "confirm", source: LuaScripts.confirm)

  let layout: StoreLayout
  /// How many changes the stream keeps.
  let changesKept: Int

  var keys: [String] { [layout.meta, layout.changes] }
  var arguments: [any RedisArgument] { [StoreLayout.schema, StoreLayout.bucketCount, changesKept] }

  /// - Returns: The version.
  func read(_ reply: RedisReply) throws -> UInt64 {
    guard let version = UInt64(try reply.string()) else {
      throw UnreadableStore("expected a version, got \(reply.shape)")
    }
    return version
  }
}
