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
  /// The ID of the store that the outbox is tied to; nil until a follower has compared a store with the source.
  private(set) var tied: String?
  /// The number of the session that claimed the outbox last.
  private(set) var session = 0
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

  /// Gives the outbox to a new session.
  /// - Parameter replaced: The stores that this one replaces.
  /// - Returns: The session's number; nil if the outbox is tied to another store.
  func claim(for store: String?, replacing replaced: [String]) -> Int? {
    if let tied {
      guard let store, store == tied || replaced.contains(tied) else { return nil }
      self.tied = store
    }
    session += 1
    return session
  }

  /// Ties the outbox to a store.
  /// - Returns: False if another session has the outbox, or it is tied to another store.
  func tie(to store: String, by number: Int) -> Bool {
    guard number == session, tied ?? store == store else { return false }
    tied = store
    return true
  }

  /// Ties the outbox to any other store, and takes it from its session.
  func move(to store: String) {
    tied = store
    session += 1
  }

  /// Deletes changes from the outbox, unless another session has it.
  func remove(_ numbers: Set<Int>, by number: Int) {
    guard number == session else { return }
    outbox.removeAll { numbers.contains($0.number) }
  }
}

/// A publisher that keeps the store equal to the source, and marks it.
final class SimulatedFollower {
  enum Step {
    case claim, readTime, readSource, carryOut, mark, remove
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
  /// The server that it is led to while its address is wrong.
  var misdirected: Int?
  /// The ID of the store that the session found, and the stores that this one replaces.
  var found: (store: String?, replaced: [String]) = (nil, [])
  /// The session's number at the outbox, and whether it has tied the outbox to its store.
  var claim = 0
  var hasTied = false
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
