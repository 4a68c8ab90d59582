// The old contents of buckets that were read again, as long as the mirror isn't complete.
//
// A bucket that was read is sound by itself. Whether it is a part of the store as a whole is known from the total, when
// all buckets have been read and the changes followed to the latest. Until then the store may be one that somebody is
// about to fill, one that was emptied by mistake, or another one at the same address. So keys that a bucket has lost
// stay admitted until then, for as long as they would have been without that read, and the removals are judged
// together, by a guard that sees how many they are. A change is different: it says that its key has ended, and takes
// effect at once.
//
// The tables are kept unchanged, which copies nothing. Rejected: installing no bucket before all have been read. It
// would keep new keys out as well, and leave changes without a table to be applied to.

/// Buckets as they were before they were read again.
struct FormerBuckets {
  private var buckets: [Int: (table: BucketTable, until: Instant?)] = [:]

  var isEmpty: Bool { buckets.isEmpty }

  /// Keeps a bucket, if the new one lacks active keys of it.
  /// - Parameter until: The time until which its keys may be admitted.
  mutating func keep(_ old: BucketTable, of bucket: Int, replacedBy fresh: BucketTable, until: Instant?) {
    func isLost(_ entry: BucketTable.Entry) -> Bool {
      entry.state == .active && fresh.find(entry.id0, entry.id1)?.state != .active
    }
    guard let kept = buckets[bucket] else {
      if old.entries.contains(where: isLost) { buckets[bucket] = (old, until) }
      return
    }
    // The bucket was read once more before the mirror was complete. Its losses are added to the earlier ones, with the
    // earlier age.
    var table = kept.table
    for entry in old.entries where isLost(entry) { table.put(entry, digest: .empty) }
    buckets[bucket] = (table, [kept.until, until].compactMap { $0 }.min())
  }

  /// The entry of a key that was active in a bucket's old content, and the time until which it may be admitted; nil as
  /// the time if the store never answered.
  func active(_ key: KeyPrefix, of bucket: Int) -> (entry: BucketTable.Entry, until: Instant?)? {
    guard let kept = buckets[bucket], let entry = kept.table.find(key.id0, key.id1), entry.state == .active else {
      return nil
    }
    return (entry, kept.until)
  }

  /// Called when a change says that the key has ended.
  /// - Returns: The kept entry, if there was one.
  mutating func ended(_ key: KeyPrefix, of bucket: Int) -> BucketTable.Entry? {
    guard let entry = active(key, of: bucket)?.entry else { return nil }
    buckets[bucket]?.table.remove(key.id0, key.id1)
    return entry
  }

  /// Removes and returns everything, in the order of the buckets.
  mutating func takeAll() -> [(bucket: Int, table: BucketTable)] {
    defer { buckets = [:] }
    return buckets.sorted { $0.key < $1.key }.map { ($0.key, $0.value.table) }
  }

  /// The same, without removing it.
  var all: some Sequence<(bucket: Int, table: BucketTable, until: Instant?)> {
    buckets.lazy.map { ($0.key, $0.value.table, $0.value.until) }
  }
}
