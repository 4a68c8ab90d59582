// Which bucket is read again next. A record that is edited in place by hand changes neither summary nor length, and no
// change reports it; only reading the bucket does. So all of them are read one after another, slowly, and first the
// important ones: those that didn't fit their summary, and those from which a key has vanished that somebody may be
// asking for.

/// The round of buckets that are read again without a sign of a difference.
struct ScrubSchedule {
  private(set) var due: Instant
  private var next = 0
  private let interval: Duration
  /// A question may wait for a bucket from which a key has vanished, but the store mustn't be asked without a pause.
  private let urgentInterval = Duration.milliseconds(50)

  /// Buckets that don't fit their summary although the mirror does; the reason as text.
  private(set) var damaged: [Int: String] = [:]
  /// Keys whose records have vanished, with their bucket, until the bucket was read once more and confirms it.
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

  /// The bucket arrived, or couldn't be read.
  mutating func ended(now: Instant) {
    due = now + (vanished.isEmpty ? interval : min(interval, urgentInterval))
  }

  /// Begins a new full interval, unless a question waits.
  mutating func postpone(from now: Instant) {
    if vanished.isEmpty { due = now + interval }
  }

  mutating func noteVanished(_ key: KeyPrefix, from bucket: Int) { vanished[key] = bucket }

  /// At once, out of turn.
  mutating func hurry(now: Instant) { due = now }

  mutating func returned(_ key: KeyPrefix) { vanished[key] = nil }

  /// The bucket equals the mirror, so the keys that vanished from it really aren't in the store.
  mutating func vouched(for bucket: Int) {
    if !vanished.isEmpty { vanished = vanished.filter { $0.value != bucket } }
  }

  mutating func noteDamage(of bucket: Int, _ why: String) { damaged[bucket] = why }

  /// - Returns: Whether it was damaged until now.
  mutating func isSound(_ bucket: Int) -> Bool { damaged.removeValue(forKey: bucket) != nil }
}
