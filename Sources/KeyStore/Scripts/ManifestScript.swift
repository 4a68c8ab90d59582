import Hiredis
import KeyReplica
import RedisClient

/// Reads the store's description in one step: manifest.lua.
struct ManifestScript: ScriptCall {
  static let script = RedisScript(name: "manifest", source: LuaScripts.manifest)

  let layout: StoreLayout

  var keys: [String] { [layout.meta] + layout.allBuckets }

  func read(_ reply: RedisReply) throws -> StoreAnswer<Manifest> {
    let items = try reply.array()
    let fields = StoreLayout.metaFields.count
    let expected = fields + 2 * StoreLayout.bucketCount
    guard items.count == expected else {
      throw UnreadableStore("expected a manifest of \(expected) items, got \(items.count)")
    }
    let position: StorePosition
    switch try StoreLayout.position(fromFields: items[..<fields]) {
    case .found(let found): position = found
    case .noStore: return .noStore
    case .incompatible(let why): return .incompatible(why)
    }
    var buckets: [BucketSummary?] = []
    var lengths: [Int] = []
    buckets.reserveCapacity(StoreLayout.bucketCount)
    lengths.reserveCapacity(StoreLayout.bucketCount)
    for index in stride(from: fields, to: items.count, by: 2) {
      let length = Int(try items[index + 1].integer())
      if let bytes = try items[index].bytesOrNull() {
        buckets.append(BucketSummary(decoding: bytes))
        lengths.append(length - 1)
      } else {
        buckets.append(nil)
        lengths.append(length)
      }
    }
    return .found(Manifest(position: position, buckets: buckets, lengths: lengths))
  }
}
