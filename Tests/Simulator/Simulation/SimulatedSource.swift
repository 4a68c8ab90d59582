// The customers' own database, as a follower sees it: rows, and an outbox with the number of each change. A number is
// given when a transaction begins, and the change is seen when it is committed, so numbers can become visible out of
// order.

import KeyReplica

final class SimulatedSource {
  /// A committed change in the outbox.
  struct Entry {
    let number: Int
    let key: Int
  }

  /// The keys' records, by number. A key that isn't in the source is `.none`.
  private(set) var rows: Holdings
  private(set) var outbox: [Entry] = []
  /// Since when each key has been active without a break; nil where it isn't.
  private(set) var activeSince: [Instant?]
  /// Since when each key has been what it is.
  private(set) var unchangedSince: [Instant]
  private(set) var committedAt: Instant
  /// The key that was changed last.
  private(set) var latest: Int?
  /// Nobody can read it until then.
  var awayUntil: Instant?
  private var open: [Int: [(key: Int, holding: Holding)]] = [:]
  private var lastNumber = 0

  init(rows: Holdings, at now: Instant) {
    self.rows = rows
    activeSince = rows.map { $0.isActive ? now : nil }
    unchangedSince = rows.map { _ in now }
    committedAt = now
  }

  /// Begins a transaction, and returns its number.
  func begin(_ changes: [(key: Int, holding: Holding)]) -> Int {
    lastNumber += 1
    open[lastNumber] = changes
    return lastNumber
  }

  /// Commits a transaction, unless it was committed already.
  func commit(_ number: Int, at now: Instant) {
    guard let changes = open.removeValue(forKey: number) else { return }
    for (key, holding) in changes {
      if rows[key] != holding { unchangedSince[key] = now }
      rows[key] = holding
      outbox.append(Entry(number: number, key: key))
      latest = key
      if !holding.isActive {
        activeSince[key] = nil
      } else if activeSince[key] == nil {
        activeSince[key] = now
      }
    }
    committedAt = now
  }

  func commitAll(at now: Instant) { for number in open.keys.sorted() { commit(number, at: now) } }

  /// Deletes changes from the outbox.
  func remove(_ numbers: Set<Int>) { outbox.removeAll { numbers.contains($0.number) } }
}

/// A publisher that keeps the store equal to the source, and marks it.
final class SimulatedFollower {
  enum Step {
    case readTime, readSource, carryOut, mark
  }

  let index: Int
  var isRunning = true
  /// Counts the sessions: steps of former ones do nothing.
  var session = 0
  /// The lease of the session; nil while it has none.
  var lease: Int?
  /// A lease of a former session of the same process, which may still be held.
  var formerLease: Int?
  /// Where the session's lease is.
  var server = 0
  /// The last known position of the store; nil before the session's first comparison.
  var position: (epoch: String, version: UInt64, digest: Digest)?
  /// Redis's time before the source was read, and when that truly was.
  var moment: UInt64 = 0
  var momentAt = Instant(nanoseconds: 0)
  /// What was read of the source.
  var rows: Holdings = []
  var entries: [SimulatedSource.Entry] = []
  /// Whether it has changed the store, and replicas haven't confirmed that yet.
  var hasChanged = false
  /// The largest number that was carried out.
  var largest = 0

  init(index: Int) { self.index = index }
}
