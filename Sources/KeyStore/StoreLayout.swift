// Every Redis key of the key store, and its content. No other code in Sluice contains these names.
//
//   sluice:{keys}:meta          hash    schema, buckets, epoch, version, count, digest, sealed,
//                                       announced (number of marked removals),
//                                       confirmed (up to which version), replicas (how many could become
//                                       primary), rebuild (see StoreRebuild), store (the store's ID: the epoch of its
//                                       first history; if missing, the present epoch), name,
//                                       adopted (IDs and names of stores that this one replaces), unknown (number of
//                                       distinct unknown keys that an operator confirmed), source_mark,
//                                       source_version and source_max_age (`none`: no limit;
//                                       see SourceMarks)
//   sluice:{keys}:bucket:0 …    hash    key ID (32 bytes) → record; `summary` → "count digest version"
//   sluice:{keys}:changes       stream  one entry per change; its ID is <version>-0
//   sluice:{keys}:rebuild       hash    while the store is being rebuilt: bucket's number → its future summary
//   sluice:{keys}:fence         string  written to see which replicas follow; its value has no meaning
//   sluice:{keys}:fence:…       string  if INFO can't be used: shows that two connections lead to one server;
//                                       expires after 10 s
//   sluice:{keys}:lease         string  the publisher that applies a list (see ListLease); expires
//   sluice:{keys}:due           hash    key ID → "seconds version": keys to revoke later (see DueRevocations)
//   sluice:{keys}:followers     string  the maximum number of replicas seen that could be promoted
//
// Meta and the summaries of all buckets are written in one step when the store is created, so a missing one was lost.
// The stream begins with the first change.
//
// All keys share one hash tag, so in a Redis Cluster they are in one slot, and one script may use all of them. A
// bucket's summary is in the bucket itself, so that one HGETALL is atomic and contains its own proof.

import KeyReplica
public import RedisClient

/// The names of the key store's Redis keys.
public struct StoreLayout: Sendable, Hashable {
  public let namespace: Namespace

  public init(namespace: Namespace = .standard) { self.namespace = namespace }

  /// The number of buckets. It is part of the schema, because both sides must use the same number.
  public static let bucketCount = 1024

  /// The schema of everything above, including records. It becomes ``schemaWithExpiry`` with the first record that has
  /// an expiry, so that builds without key expiry neither read nor write the store.
  public static let schema = KeyRecord.schema
  static let schemaWithExpiry = KeyRecord.schemaWithExpiry

  /// Whether this build reads and writes a store with this schema.
  static func isKnown(schema: String) -> Bool { KeyRecord.schemas.contains { schema == "\($0)" } }

  /// The value of the schema while the store is being rebuilt.
  static let rebuilding = "rebuilding"

  /// The field of a bucket with its summary. A key ID has 32 bytes, so it can't have this name.
  static let summaryField = "summary"

  /// The fields of the store's description, in the order in which they are read.
  static let metaFields = [
    "schema", "buckets", "epoch", "version", "count", "digest", "sealed", "announced", "confirmed", "replicas",
    "store", "name", "adopted", "unknown", "source_mark", "source_version", "source_max_age",
  ]

  /// A key under which nothing is ever stored. It is in the Redis Cluster slot of all keys of the store.
  public var slot: String { namespace.key("keys", "slot") }
  public var meta: String { namespace.key("keys", "meta") }
  /// Written before a read that replicas must confirm. Its value has no meaning.
  var fence: String { namespace.key("keys", "fence") }
  /// A key that one connection writes and another one reads.
  func meeting(_ number: UInt64) -> String { namespace.key("keys", "fence:\(number)") }
  /// A separate key, so that a node doesn't need the right to write to meta.
  public var followers: String { namespace.key("keys", "followers") }
  public var changes: String { namespace.key("keys", "changes") }
  /// The publisher that applies a list.
  var lease: String { namespace.key("keys", "lease") }
  /// Keys that will be revoked later.
  var due: String { namespace.key("keys", "due") }
  var rebuild: String { namespace.key("keys", "rebuild") }
  public func bucket(_ index: Int) -> String { namespace.key("keys", "bucket:\(index)") }
  var allBuckets: [String] { (0..<Self.bucketCount).map(bucket) }
}
