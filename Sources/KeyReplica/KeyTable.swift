// The table that the push listener's threads read while one other thread writes: the only shared part of the replica.
//
// Each bucket has a lock, which is held for one lookup or one change, never for a resync: a bucket that was read again
// is built and verified separately, and then swapped in. So a lookup waits for at most one change to its own bucket.
// Rejected: a table without locks that is copied for each change. With a million keys and a thousand changes a second
// it copies too much.

internal import Synchronization

/// The mirrored records of all buckets.
public final class KeyTable: Sendable {
  private struct Bucket: ~Copyable {
    let table = Mutex(BucketTable())
    /// `Instant.nanoseconds` until which the bucket's keys may be admitted, if the store has changed the bucket;
    /// otherwise the maximum.
    let admitUntil = Atomic<Int64>(.max)
  }

  public let bucketCount: Int
  // Allocated in init and freed in deinit; each bucket has its own lock. An array can't hold locks, and separate
  // objects would be retained and released for every lookup, by all threads.
  private nonisolated(unsafe) let buckets: UnsafeMutablePointer<Bucket>
  private let accounts = AccountNames()
  /// `Instant.nanoseconds` until which all other keys may be admitted; the minimum if the store never answered.
  private let wholeAdmitUntil = Atomic<Int64>(.min)
  /// `StoreClock.offset` of the last read of the store's position; the minimum if Redis's time isn't known.
  private let storeClockOffset = Atomic<Int64>(.min)
  /// The keys that were admitted lately. All code that admits a key notes the key here.
  package let recentlyAdmitted = RecentKeys()

  /// - Parameter bucketCount: A power of two, at least 2.
  public init(bucketCount: Int) {
    precondition(
      bucketCount >= 2 && bucketCount & (bucketCount - 1) == 0, "expected a power of two, got \(bucketCount)")
    self.bucketCount = bucketCount
    buckets = .allocate(capacity: bucketCount)
    for index in 0..<bucketCount { buckets.advanced(by: index).initialize(to: Bucket()) }
  }

  deinit {
    buckets.deinitialize(count: bucketCount)
    buckets.deallocate()
  }

  /// The mirrored state of a key; nil if the mirror has no record, which alone proves nothing.
  public func find(_ id: KeyID) -> (state: KeyState, account: String)? {
    entry(id).map { ($0.state, accounts.name(of: $0.account)) }
  }

  /// When a key ends by its mirrored record, in seconds since 1970; nil if it doesn't end, or has no record.
  public func expiry(_ id: KeyID) -> Int64? {
    guard let entry = entry(id), !entry.expiry.isNone else { return nil }
    return Int64(entry.expiry.seconds)
  }

  func entry(_ id: KeyID) -> BucketTable.Entry? {
    buckets[id.bucket(of: bucketCount)].table.withLock { $0.find(id) }
  }

  /// Redis's clock by the last read of the store's position; nil if no read in this process brought Redis's time.
  var storeClock: StoreClock? {
    let offset = storeClockOffset.load(ordering: .relaxed)
    return offset == .min ? nil : StoreClock(offset: offset)
  }

  func setStoreClock(_ clock: StoreClock) { storeClockOffset.store(clock.offset, ordering: .relaxed) }

  /// The mirrored state of a key; nil if it has no record.
  func state(_ key: KeyPrefix) -> KeyState? {
    buckets[key.bucket(of: bucketCount)].table.withLock { $0.find(key.id0, key.id1)?.state }
  }

  /// The time until which keys may be admitted, unless their bucket has a deadline of its own; nil if the store never
  /// answered.
  public var admitUntil: Instant? {
    let nanoseconds = wholeAdmitUntil.load(ordering: .acquiring)
    return nanoseconds == .min ? nil : Instant(nanoseconds: nanoseconds)
  }

  func setAdmitDeadline(_ deadline: Instant?) {
    wholeAdmitUntil.store(deadline?.nanoseconds ?? .min, ordering: .releasing)
  }

  /// The time until which a key may be admitted if the store has changed its bucket; nil if the bucket is as fresh as
  /// the whole mirror.
  public func admitUntil(_ id: KeyID) -> Instant? { heldUntil(bucket: id.bucket(of: bucketCount)) }

  func heldUntil(bucket index: Int) -> Instant? {
    let nanoseconds = buckets[index].admitUntil.load(ordering: .acquiring)
    return nanoseconds == .max ? nil : Instant(nanoseconds: nanoseconds)
  }

  /// Admits from a stale bucket until `deadline`; nil if the bucket equals the store's.
  func setAdmitDeadline(ofBucket index: Int, to deadline: Instant?) {
    buckets[index].admitUntil.store(deadline?.nanoseconds ?? .max, ordering: .releasing)
  }

  /// Count and digest of the mirrored content of one bucket.
  package func contents(ofBucket index: Int) -> (count: Int, digest: Digest) {
    buckets[index].table.withLock { ($0.count, $0.digest) }
  }

  /// Applies one record, and returns the bucket's count and digest before and after it, and the key's old entry.
  func put(
    _ id: KeyID, _ record: KeyRecord, digest: Digest
  ) -> (before: (count: Int, digest: Digest), after: (count: Int, digest: Digest), former: BucketTable.Entry?) {
    let account = accounts.number(of: record.account)
    return buckets[id.bucket(of: bucketCount)].table.withLock { table in
      let before = (table.count, table.digest)
      let former = table.find(id)
      table.put(
        id, state: record.state, account: account, expiry: KeyExpiry(record.expiresAt), digest: digest)
      return (before, (table.count, table.digest), former)
    }
  }

  /// Adds a record that belongs to no store: for benchmarks.
  package func put(_ id: KeyID, _ record: KeyRecord) {
    _ = put(id, record, digest: Digest(of: id, record: record.encoded))
  }

  /// Removes one record, and returns the same values as `put`.
  func remove(
    _ id: KeyID
  ) -> (before: (count: Int, digest: Digest), after: (count: Int, digest: Digest), former: BucketTable.Entry?) {
    buckets[id.bucket(of: bucketCount)].table.withLock { table in
      let before = (table.count, table.digest)
      let former = table.find(id)
      table.remove(id)
      return (before, (table.count, table.digest), former)
    }
  }

  /// Swaps in a whole bucket that was read and verified separately. Returns the old one, so that it is freed after the
  /// lock is released.
  @discardableResult
  func install(_ table: BucketTable, asBucket index: Int) -> BucketTable {
    buckets[index].table.withLock { current in
      let old = current
      current = table
      return old
    }
  }

  /// The current content of one bucket: a copy on write.
  func bucket(_ index: Int) -> BucketTable { buckets[index].table.withLock { $0 } }

  func accountName(of number: AccountNames.Number) -> String { accounts.name(of: number) }

  func accountNumber(of name: String) -> AccountNames.Number { accounts.number(of: name) }

  /// - Parameter names: In UTF-8.
  func accountNumbers(of names: [UnsafeRawBufferPointer]) -> [AccountNames.Number] { accounts.numbers(of: names) }

  /// Records in all buckets.
  public var count: Int { (0..<bucketCount).reduce(0) { $0 + contents(ofBucket: $1).count } }

  public var accountCount: Int { accounts.count }
}
