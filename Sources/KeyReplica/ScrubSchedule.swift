// Which bucket is read again next. If a record is edited in place by hand, neither summary nor length changes, and no
// change reports it; only reading the bucket shows it. So all buckets are read again one after another, slowly.
// Important ones are first: buckets from which a key has vanished, because a question may be waiting for them, and
// buckets that didn't match their summary.

/// The schedule of buckets that are read again without a sign of a difference.
struct ScrubSchedule {
  private(set) var due: Instant
  private var next = 0
  private let interval: Duration
  /// A question may wait for a bucket from which a key has vanished, but reads of the store need a pause.
  private let urgentInterval = Duration.milliseconds(50)

  /// Buckets that don't match their summary although the mirror does, with the reason as text.
  private(set) var damaged: [Int: String] = [:]
  /// Keys whose records have vanished, with their bucket, until the bucket was read again and confirms that.
  private(set) var vanished: [KeyPrefix: Int] = [:]

  init(every interval: Duration, now: Instant) {
    self.interval = interval
    due = now
  }

  /// The index of the bucket to read now.
  mutating func begin(of bucketCount: Int) -> Int {
    if let awaited = vanished.values.min() ?? damaged.keys.min() { return awaited }
    defer { next = (next + 1) % bucketCount }
    return next
  }

  /// Records that the bucket was read or couldn't be read.
  mutating func ended(now: Instant) {
    due = now + (vanished.isEmpty ? interval : min(interval, urgentInterval))
  }

  /// Starts a new full interval, unless a question waits.
  mutating func postpone(from now: Instant) {
    if vanished.isEmpty { due = now + interval }
  }

  mutating func noteVanished(_ key: KeyPrefix, from bucket: Int) { vanished[key] = bucket }

  /// Makes the next read due at once.
  mutating func hurry(now: Instant) { due = now }

  mutating func returned(_ key: KeyPrefix) { vanished[key] = nil }

  /// Records that the bucket equals the mirror: the keys that vanished from it aren't in the store.
  mutating func vouched(for bucket: Int) {
    if !vanished.isEmpty { vanished = vanished.filter { $0.value != bucket } }
  }

  mutating func noteDamage(of bucket: Int, _ why: String) { damaged[bucket] = why }

  /// Removes the bucket from the damaged ones.
  /// - Returns: Whether it was damaged.
  mutating func isSound(_ bucket: Int) -> Bool { damaged.removeValue(forKey: bucket) != nil }
}
