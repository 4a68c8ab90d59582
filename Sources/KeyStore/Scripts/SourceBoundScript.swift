import Hiredis
import RedisClient

/// Sets the maximum age of the source mark: source_bound.lua.
struct SourceBoundScript: ScriptCall {
  static let script = RedisScript(name: "source_bound", source: LuaScripts.sourceBound)

  let layout: StoreLayout
  /// The maximum age; nil for no limit.
  let milliseconds: Int64?

  var keys: [String] { [layout.meta, layout.changes] }
  var arguments: [any RedisArgument] {
    [StoreLayout.schema, StoreLayout.bucketCount, milliseconds.map { "\($0)" } ?? ""]
  }

  func read(_ reply: RedisReply) throws { _ = try reply.orThrow() }
}
