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
    let buckets = fields + 2 * StoreLayout.bucketCount
    guard items.count == buckets + 1 else {
      throw UnreadableStore("expected a manifest of \(buckets + 1) items, got \(items.count)")
    }
    let position: StorePosition
    let time = try PositionScript.time(from: items[buckets])
    switch try StoreLayout.position(fromFields: items[..<fields], at: time) {
    case .found(let found): position = found
    case .noStore: return .noStore
    case .incompatible(let why): return .incompatible(why)
    }
    var summaries: [BucketSummary?] = []
    var lengths: [Int] = []
    summaries.reserveCapacity(StoreLayout.bucketCount)
    lengths.reserveCapacity(StoreLayout.bucketCount)
    for index in stride(from: fields, to: buckets, by: 2) {
      let length = Int(try items[index + 1].integer())
      if let bytes = try items[index].bytesOrNull() {
        summaries.append(BucketSummary(decoding: bytes))
        lengths.append(length - 1)
      } else {
        summaries.append(nil)
        lengths.append(length)
      }
    }
    return .found(Manifest(position: position, buckets: summaries, lengths: lengths))
  }
}
