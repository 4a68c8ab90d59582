// Which bucket is read again next. A record that is edited in place by hand changes neither summary nor length, and no change tells of it;
// only reading the bucket does. So all of them are read one after another, slowly, and first the ones that something depends on: those that
// weren't what they say they are, and those out of which a key has vanished that somebody may be asking for.

/// The round of buckets that are read again although nothing says that they differ.
struct ScrubSchedule {
  private(set) var due: Instant
  private var next = 0
  private let interval: Duration
  /// Somebody may be waiting for a bucket out of which a key has vanished, but not so much that the store is asked without a pause.
  private let urgentInterval = Duration.milliseconds(50)

  /// Buckets that aren't what they say they are, although the mirror has what they should be; why, in words.
  private(set) var damaged: [Int: String] = [:]
  /// Keys whose records have vanished, with their bucket, until it was read once more and vouches for it.
  private(set) var vanished: [KeyPrefix: Int] = [:]

  init(every interval: Duration, now: Instant) {
    self.interval = interval
    due = now
  }

  /// The bucket to read now, of so many.
  mutating func begin(of bucketCount: Int) -> Int {
    if let awaited = vanished.values.min() ?? damaged.keys.min() { return awaited }
    defer { next = (next + 1) % bucketCount }
    return next
  }

  /// The bucket came, or couldn't be read.
  mutating func ended(now: Instant) {
    due = now + (vanished.isEmpty ? interval : min(interval, urgentInterval))
  }

  /// Begins anew with a full interval, unless somebody waits.
  mutating func postpone(from now: Instant) {
    if vanished.isEmpty { due = now + interval }
  }

  mutating func noteVanished(_ key: KeyPrefix, from bucket: Int) { vanished[key] = bucket }

  /// Not in its turn, but at once.
  mutating func hurry(now: Instant) { due = now }

  mutating func returned(_ key: KeyPrefix) { vanished[key] = nil }

  /// The bucket is just what is mirrored, so the keys that vanished from it really aren't in the store.
  mutating func vouched(for bucket: Int) {
    if !vanished.isEmpty { vanished = vanished.filter { $0.value != bucket } }
  }

  mutating func noteDamage(of bucket: Int, _ why: String) { damaged[bucket] = why }

  /// - Returns: Whether it was damaged until now.
  mutating func isSound(_ bucket: Int) -> Bool { damaged.removeValue(forKey: bucket) != nil }
}
