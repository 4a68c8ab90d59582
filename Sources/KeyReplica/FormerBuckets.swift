// The former contents of buckets that were read again, until the mirror is complete.
//
// A bucket that was read is verified by its own summary. Whether it belongs to a consistent store is known only from
// the total, after all buckets have been read and the changes followed to the latest version. Until then the store may
// be one that is about to be filled, one that was emptied by mistake, or another one at the same address. So keys that
// are missing in the new content of a bucket stay admitted until then, for as long as without that read, and the
// removal guard judges all removals together. A change is different: it says that its key was revoked or suspended, and
// is effective at once.
//
// The tables are kept unchanged, which copies nothing. Rejected: installing no bucket before all have been read. Then
// new keys would not be admitted either, and changes would have no table to be applied to.

/// The contents of buckets before they were read again.
struct FormerBuckets {
  private var buckets: [Int: (table: BucketTable, until: Instant?)] = [:]

  var isEmpty: Bool { buckets.isEmpty }

  /// Keeps the old bucket, if active keys of it are missing in the new one.
  /// - Parameter until: The time until which its keys may be admitted.
  mutating func keep(_ old: BucketTable, of bucket: Int, replacedBy fresh: BucketTable, until: Instant?) {
    func isLost(_ entry: BucketTable.Entry) -> Bool {
      entry.state == .active && fresh.find(entry.id0, entry.id1)?.state != .active
    }
    guard let kept = buckets[bucket] else {
      if old.entries.contains(where: isLost) { buckets[bucket] = (old, until) }
      return
    }
    // The bucket was read again before the mirror was complete. The newly missing keys are added to the earlier ones,
    // and all have the earlier deadline.
    var table = kept.table
    for entry in old.entries where isLost(entry) { table.put(entry, digest: .empty) }
    buckets[bucket] = (table, [kept.until, until].compactMap { $0 }.min())
  }

  /// The entry of a key that was active in a bucket's former content, and the time until which it may be admitted (nil
  /// if the store never answered).
  func active(_ key: KeyPrefix, of bucket: Int) -> (entry: BucketTable.Entry, until: Instant?)? {
    guard let kept = buckets[bucket], let entry = kept.table.find(key.id0, key.id1), entry.state == .active else {
      return nil
    }
    return (entry, kept.until)
  }

  /// Call it when a change says that the key was revoked or suspended.
  /// - Returns: The removed entry, if there was one.
  mutating func ended(_ key: KeyPrefix, of bucket: Int) -> BucketTable.Entry? {
    guard let entry = active(key, of: bucket)?.entry else { return nil }
    buckets[bucket]?.table.remove(key.id0, key.id1)
    return entry
  }

  /// Removes and returns all former buckets, in the order of their numbers.
  mutating func takeAll() -> [(bucket: Int, table: BucketTable)] {
    defer { buckets = [:] }
    return buckets.sorted { $0.key < $1.key }.map { ($0.key, $0.value.table) }
  }

  /// All former buckets.
  var all: some Sequence<(bucket: Int, table: BucketTable, until: Instant?)> {
    buckets.lazy.map { ($0.key, $0.value.table, $0.value.until) }
  }
}
