// What buckets held before they were read, as long as the mirror isn't complete.
//
// A bucket that was read is sound by itself. Whether it is a part of the store as a whole is told by the total, when all of them have been read
// and the changes followed to the latest; until then it may be a store that somebody is about to fill, one that was emptied by mistake, or
// another one at the same address. So what a bucket has lost goes on being admitted until then, as long as it would have been
// without that read, and the removals are judged together, by a guard that so sees how many they are. A change is another matter: it says of
// its key that it has ended, and that counts at once.
//
// The tables are kept as they were, which copies nothing. Rejected: not to install buckets before all have come, which would keep new keys out
// as well, and leave changes without a table to be applied to.

/// Buckets as they were before they were read anew.
struct FormerBuckets {
  private var buckets: [Int: (table: BucketTable, until: Instant?)] = [:]

  var isEmpty: Bool { buckets.isEmpty }

  /// Keeps a bucket, if what replaces it lacks active keys of it.
  /// - Parameter until: Until when what is in it may be admitted.
  mutating func keep(_ old: BucketTable, of bucket: Int, replacedBy fresh: BucketTable, until: Instant?) {
    func isLost(_ entry: BucketTable.Entry) -> Bool {
      entry.state == .active && fresh.find(entry.id0, entry.id1)?.state != .active
    }
    guard let kept = buckets[bucket] else {
      if old.entries.contains(where: isLost) { buckets[bucket] = (old, until) }
      return
    }
    // Read once more before the mirror was complete: what it has lost now is added, with what is older as the measure of age.
    var table = kept.table
    for entry in old.entries where isLost(entry) { table.put(entry, digest: .empty) }
    buckets[bucket] = (table, [kept.until, until].compactMap { $0 }.min())
  }

  /// What a bucket held of a key as active, and until when it may be admitted; nil as the time where nothing was ever heard.
  func active(_ key: KeyPrefix, of bucket: Int) -> (entry: BucketTable.Entry, until: Instant?)? {
    guard let kept = buckets[bucket], let entry = kept.table.find(key.id0, key.id1), entry.state == .active else {
      return nil
    }
    return (entry, kept.until)
  }

  /// A change says that the key has ended.
  /// - Returns: What was kept of it, if it was.
  mutating func ended(_ key: KeyPrefix, of bucket: Int) -> BucketTable.Entry? {
    guard let entry = active(key, of: bucket)?.entry else { return nil }
    buckets[bucket]?.table.remove(key.id0, key.id1)
    return entry
  }

  /// All that is kept, in the order of the buckets, and no longer kept from then on.
  mutating func takeAll() -> [(bucket: Int, table: BucketTable)] {
    defer { buckets = [:] }
    return buckets.sorted { $0.key < $1.key }.map { ($0.key, $0.value.table) }
  }

  /// The same, looked at.
  var all: some Sequence<(bucket: Int, table: BucketTable, until: Instant?)> {
    buckets.lazy.map { ($0.key, $0.value.table, $0.value.until) }
  }
}
