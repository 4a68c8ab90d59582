import Hiredis
import RedisClient

/// Sets how old the source mark may be: source_bound.lua.
struct SourceBoundScript: ScriptCall {
  static let script = RedisScript(name: "source_bound", source: LuaScripts.sourceBound)

  let layout: StoreLayout
  /// Nil for no bound.
  let milliseconds: Int64?

  var keys: [String] { [layout.meta, layout.changes] }
  var arguments: [any RedisArgument] {
    [StoreLayout.schema, StoreLayout.bucketCount, milliseconds.map { "\($0)" } ?? ""]
  }

  func read(_ reply: RedisReply) throws { _ = try reply.orThrow() }
}
