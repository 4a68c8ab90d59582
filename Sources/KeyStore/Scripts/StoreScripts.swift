// The scripts: each is one atomic step in Redis, and no other code writes to the key store. Each is in a `.lua` file of
// its own, beside the type that knows its keys, arguments and reply; what several use is in `Shared`.
//
// They check everything they rely on before the first write, because a script that fails half-way leaves its first half
// behind. The `#!lua` line makes Redis refuse them as a whole when it is full, not at some write in the middle;
// `allow-oom` lifts that for what must work on a full Redis: ending a key's life.
//
// A store begins whole, with the summary of every bucket (`create`). So what is missing was lost: the others refuse a
// bucket without a summary, which they would otherwise have to take for one that was never written to, and its keys for
// never put.

public import Hiredis
import RedisClient

enum StoreScripts {
  static let all = [
    CreateScript.script, ChangeScript.script, ChangeScript.end, PurgeScript.script, SealScript.script,
    ConfirmScript.script, BeginRebuildScript.script, RebuildBucketScript.script, FinishRebuildScript.script,
    ReplicasScript.script, FenceScript.script, MeetingScript.script, RecordFollowersScript.script,
    ManifestScript.script, LeaseScript.script,
    PositionScript.script, MarkScript.script, SourceBoundScript.script,
  ]
}

/// Why a script of the key store refuses: the first word of its error. Nothing was written.
public enum StoreErrorCode: String, Sendable, CaseIterable {
  /// There is no key store.
  case absent = "STORENONE"
  /// Something is missing in the store, or what it says of itself doesn't fit together.
  case broken = "STOREBROKEN"
  /// The store has another schema or number of buckets than this build.
  case otherKind = "STOREKIND"
  /// There are no keys in the store, and nobody said that this is right.
  case empty = "STOREEMPTY"
  /// The store is being rebuilt.
  case rebuilding = "STOREREBUILD"
  /// Changes of a list whose lease has ended.
  case leaseEnded = "STORELEASE"
}

extension RedisServerError {
  /// Nil for errors that aren't the key store's.
  public var storeCode: StoreErrorCode? { StoreErrorCode(rawValue: code) }
}

/// The keys of a script that touches some buckets: meta, changes, and these.
struct TouchedBuckets {
  private let layout: StoreLayout
  private(set) var keys: [String]
  private var positions: [Int: Int] = [:]

  init(_ layout: StoreLayout) {
    self.layout = layout
    keys = [layout.meta, layout.changes]
  }

  /// Where the bucket is among the keys, counted from 1 as in Lua.
  mutating func position(of bucket: Int) -> Int {
    if let position = positions[bucket] { return position }
    keys.append(layout.bucket(bucket))
    positions[bucket] = keys.count
    return keys.count
  }
}
