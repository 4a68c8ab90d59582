import Hiredis
import RedisClient

/// Writes the summaries of all buckets and opens the store again, as a new history that is sealed: finish_rebuild.lua.
struct FinishRebuildScript: ScriptCall {
  static let script = RedisScript(name: "finishRebuild", source: LuaScripts.finishRebuild)

  let layout: StoreLayout
  /// The new epoch.
  let epoch: String
  /// Whether a record has an expiry.
  let hasExpiry: Bool

  struct Reply {
    let version: UInt64
    let keys: Int
  }

  var keys: [String] { [layout.meta, layout.changes, layout.rebuild] + layout.allBuckets }
  var arguments: [any RedisArgument] {
    [hasExpiry ? StoreLayout.schemaWithExpiry : StoreLayout.schema, StoreLayout.bucketCount, epoch]
  }

  func read(_ reply: RedisReply) throws -> Reply {
    let items = try reply.array()
    guard items.count == 2, let version = UInt64(try items[0].string()), let keys = Int(try items[1].string()) else {
      throw UnreadableStore("expected version and count, got \(items.count) items")
    }
    return Reply(version: version, keys: keys)
  }
}
