import Hiredis
import KeyReplica
import RedisClient

/// Writes the source mark: mark.lua.
struct MarkScript: ScriptCall {
  static let script = RedisScript(name: "mark", source: LuaScripts.mark)

  let layout: StoreLayout
  let lease: ListLease
  let epoch: String
  /// The version at which the store was equal to the source.
  let version: UInt64
  /// The store's digest at that version.
  let digest: Digest
  /// Microseconds since 1970, by Redis's clock.
  let moment: UInt64

  var keys: [String] { [layout.meta, layout.changes, layout.lease] }
  var arguments: [any RedisArgument] {
    [StoreLayout.schema, StoreLayout.bucketCount, lease.beginning, epoch, "\(version)", "\(moment)", digest.hex]
  }

  func read(_ reply: RedisReply) throws -> SourceMarks.Outcome {
    let items = try reply.array()
    guard items.count == 4, let version = UInt64(try items[2].string()), let digest = Digest(hex: try items[3].string())
    else { throw UnreadableStore("expected a flag, epoch, version and digest, got \(reply.shape)") }
    let isWritten = try items[0].integer() == 1
    return SourceMarks.Outcome(
      isWritten: isWritten, epoch: try items[1].string(), version: version, digest: digest)
  }
}
