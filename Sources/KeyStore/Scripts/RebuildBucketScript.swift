import Hiredis
import KeyReplica
import RedisClient

/// Records the future summary of a bucket: rebuild_bucket.lua.
struct RebuildBucketScript: ScriptCall {
  static let script = RedisScript(name: "rebuildBucket", source: LuaScripts.rebuildBucket)

  let layout: StoreLayout
  /// The new epoch.
  let epoch: String
  /// The bucket's number.
  let index: Int
  /// Number of records in the bucket.
  let count: Int
  let digest: Digest
  /// Names of fields to delete.
  let foreign: [[UInt8]]

  var keys: [String] { [layout.meta, layout.rebuild, layout.bucket(index)] }
  var arguments: [any RedisArgument] { [epoch, index, count, digest.hex] + foreign as [any RedisArgument] }

  func read(_ reply: RedisReply) throws { _ = try reply.orThrow() }
}
