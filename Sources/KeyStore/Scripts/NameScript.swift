import Hiredis
import RedisClient

/// Names the store, unless it has a name: name.lua.
struct NameScript: ScriptCall {
  static let script = RedisScript(name: "name", source: LuaScripts.name)

  let layout: StoreLayout
  let name: String

  var keys: [String] { [layout.meta, layout.changes] }
  var arguments: [any RedisArgument] { [StoreLayout.schema, StoreLayout.bucketCount, name] }

  /// - Returns: The store's name, and whether it is new.
  func read(_ reply: RedisReply) throws -> (name: String, isNew: Bool) {
    let items = try reply.array()
    guard items.count == 2 else { throw UnreadableStore("expected a name and a flag, got \(items.count) items") }
    return (try items[0].string(), try items[1].integer() == 1)
  }
}
