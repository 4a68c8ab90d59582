import Hiredis
import RedisClient

/// Seals the store, if its description is consistent: seal.lua.
struct SealScript: ScriptCall {
  static let script = RedisScript(name: "seal", source: LuaScripts.seal)

  let layout: StoreLayout
  let mayBeEmpty: Bool
  /// How many changes the stream keeps.
  let changesKept: Int

  struct Reply {
    let version: UInt64
    let keys: Int
    /// Whether it was already sealed.
    let already: Bool
  }

  var keys: [String] { [layout.meta, layout.changes] + layout.allBuckets }

  var arguments: [any RedisArgument] {
    [StoreLayout.schema, StoreLayout.bucketCount, mayBeEmpty ? 1 : 0, changesKept]
  }

  func read(_ reply: RedisReply) throws -> Reply {
    let items = try reply.array()
    guard items.count == 4, let version = UInt64(try items[1].string()), let keys = Int(try items[2].string()) else {
      throw UnreadableStore("expected epoch, version, count and a flag, got \(items.count) items")
    }
    return Reply(version: version, keys: keys, already: try items[3].integer() == 1)
  }
}
