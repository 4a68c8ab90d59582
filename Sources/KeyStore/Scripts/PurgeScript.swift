import Hiredis
import KeyReplica
import RedisClient

/// Removes the records of keys that were revoked before a time: purge.lua.
struct PurgeScript: ScriptCall {
  static let script = RedisScript(name: "purge", source: LuaScripts.purge)

  let keys: [String]
  let arguments: [any RedisArgument]
  private let count: Int

  /// - Parameters:
  ///   - moment: Seconds since 1970.
  ///   - changesKept: How many changes the stream keeps.
  init(_ ids: [KeyID], revokedBefore moment: Int64, layout: StoreLayout, changesKept: Int) {
    var buckets = TouchedBuckets(layout)
    var arguments: [any RedisArgument] = [StoreLayout.schema, StoreLayout.bucketCount, moment, changesKept]
    for id in ids {
      let bucket = id.bucket(of: StoreLayout.bucketCount)
      arguments += [buckets.position(of: bucket), bucket, id.bytes] as [any RedisArgument]
    }
    keys = buckets.keys
    self.arguments = arguments
    count = ids.count
  }

  func read(_ reply: RedisReply) throws -> EditOutcome { try EditOutcome(reply, of: count) }
}
