// Every Redis key of the key store, and what stands in it. Nothing else in Sluice writes such a name.
//
//   sluice:{keys}:meta          hash    schema, buckets, epoch, version, count, digest, sealed,
//                                       announced (removals that were agreed to, ever),
//                                       confirmed (up to which version), replicas (how many could take
//                                       this Redis's place), source_mark and source_max_age (see SourceMarks),
//                                       rebuild (see StoreRebuild)
//   sluice:{keys}:bucket:0 …    hash    key id (32 bytes) → record; `summary` → "count digest version"
//   sluice:{keys}:changes       stream  one entry per change, its id is <version>-0
//   sluice:{keys}:rebuild       hash    while the store is being rebuilt: bucket's number → what its summary is going to be
//   sluice:{keys}:fence         string  written to see which replicas follow; its value means nothing
//   sluice:{keys}:fence:…   string  where INFO can't be used: shows that two connections lead to one server;
//                                       ends by itself after 10 s
//   sluice:{keys}:lease         string  whose turn it is to apply a list (see ListLease); ends by itself
//   sluice:{keys}:due           hash    key id → "seconds version": keys that are to be revoked later (see DueRevocations)
//   sluice:{keys}:followers     string  the most replicas that were ever seen to follow this Redis and could be promoted
//
// Meta and the summaries of all buckets are written in one step when the store begins, so one that is missing was lost. The stream
// begins with the first change.
//
// All of them share one hash tag, so in a Redis Cluster they are in one slot, and one script may touch them all. A bucket's
// summary is in the bucket itself, so that one HGETALL is atomic and proves itself.

public import RedisClient

/// The names of the key store's Redis keys.
public struct StoreLayout: Sendable, Hashable {
  public let namespace: Namespace

  public init(namespace: Namespace = .standard) { self.namespace = namespace }

  /// How many buckets the key ids are spread over: part of the schema, since both sides must agree on it.
  public static let bucketCount = 1024

  /// The schema of everything above, records included.
  public static let schema = 1

  /// What stands for the schema while the store is being rebuilt.
  static let rebuilding = "rebuilding"

  /// The field of a bucket that holds its summary. A key id has 32 bytes, so none can be taken for it.
  static let summaryField = "summary"

  /// The fields of the description, in the order in which they are read.
  static let metaFields = [
    "schema", "buckets", "epoch", "version", "count", "digest", "sealed", "announced", "confirmed", "replicas",
    "source_mark", "source_max_age",
  ]

  /// A name under which nothing is ever stored. It stands for the slot of a Redis Cluster that all keys of the store
  /// are in.
  public var slot: String { namespace.key("keys", "slot") }
  public var meta: String { namespace.key("keys", "meta") }
  /// Written before a read that replicas must bear out; what stands in it means nothing.
  var fence: String { namespace.key("keys", "fence") }
  /// What one connection writes for another to find.
  func meeting(_ number: UInt64) -> String { namespace.key("keys", "fence:\(number)") }
  /// A key of its own, so that a node needs no right to write to meta.
  public var followers: String { namespace.key("keys", "followers") }
  public var changes: String { namespace.key("keys", "changes") }
  /// Whose turn it is to apply a list.
  var lease: String { namespace.key("keys", "lease") }
  /// Keys that are to be revoked later.
  var due: String { namespace.key("keys", "due") }
  var rebuild: String { namespace.key("keys", "rebuild") }
  public func bucket(_ index: Int) -> String { namespace.key("keys", "bucket:\(index)") }
  var allBuckets: [String] { (0..<Self.bucketCount).map(bucket) }
}
