// The scripts of the key store. Each is one atomic step in Redis, and no other code writes to the key store. Each is in
// a `.lua` file of its own, beside the type that knows its keys, arguments and reply. Code that several scripts use is
// in `Shared`.
//
// Scripts check everything that they rely on before the first write, because Redis doesn't undo the writes of a script
// that fails. Because of the `#!lua` line, a full Redis refuses a script as a whole, not at some write in the middle.
// `allow-oom` exempts scripts that must work on a full Redis: those that suspend and revoke keys.
//
// A new store is complete: it has the summary of every bucket (`create`). So a missing summary was lost, and scripts
// refuse such a bucket. Otherwise they would mistake it for one that was never written to, and its keys would be
// unknown.

public import Hiredis
import RedisClient

enum StoreScripts {
  static let all = [
    CreateScript.script, ChangeScript.script, ChangeScript.end, PurgeScript.script, SealScript.script,
    ConfirmScript.script, ConfirmUnknownScript.script, BeginRebuildScript.script, RebuildBucketScript.script,
    FinishRebuildScript.script, ReplicasScript.script, FenceScript.script, MeetingScript.script,
    RecordFollowersScript.script, ManifestScript.script, LeaseScript.script, NameScript.script, AdoptScript.script,
    PositionScript.script, MarkScript.script, SourceBoundScript.script,
  ]
}

/// Why a script of the key store refuses: the code at the start of its error. Nothing was written.
public enum StoreErrorCode: String, Sendable, CaseIterable {
  /// There is no key store.
  case absent = "STORENONE"
  /// A part of the store is missing, or its description is inconsistent.
  case broken = "STOREBROKEN"
  /// The store has another schema or number of buckets than this build.
  case otherKind = "STOREKIND"
  /// The store has no keys, and the caller didn't permit that.
  case empty = "STOREEMPTY"
  /// The store is being rebuilt.
  case rebuilding = "STOREREBUILD"
  /// The changes of a list whose lease has ended.
  case leaseEnded = "STORELEASE"
}

extension RedisServerError {
  /// Nil for errors that aren't the key store's.
  public var storeCode: StoreErrorCode? { StoreErrorCode(rawValue: code) }
}

/// The keys of a script that changes some buckets: meta, changes, and the buckets.
struct TouchedBuckets {
  private let layout: StoreLayout
  private(set) var keys: [String]
  private var positions: [Int: Int] = [:]

  init(_ layout: StoreLayout) {
    self.layout = layout
    keys = [layout.meta, layout.changes]
  }

  /// The bucket's index among the keys, counted from 1 as in Lua.
  mutating func position(of bucket: Int) -> Int {
    if let position = positions[bucket] { return position }
    keys.append(layout.bucket(bucket))
    positions[bucket] = keys.count
    return keys.count
  }
}
