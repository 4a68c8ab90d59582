// What the store at the nodes' address truly was, at every moment of a run. It is what publishers were told, not what stands in the
// store's fields: where somebody damaged these by hand, the summaries still say what was written, and that can be told from the damage.
// Where somebody recomputed the summaries, flushed the store, put another in its place or brought back an old one, that is the truth from
// then on: a key that isn't in it isn't active any more. Whether a node may go by that store, and refuse a key of which it has no record,
// is a question of its own (Checks, i and j).

import KeyReplica

struct Truth {
  struct Snapshot {
    let epoch: String
    let version: UInt64
    let sealed: Bool
    let holdings: Holdings
    let from: Instant
    var until: Instant?
    /// A version inside a batch: a replica that follows passes through it, but no read ever saw the store at it.
    let isPassing: Bool
  }

  /// The oldest first; the last one is current unless `isAbsent`.
  private(set) var snapshots: [Snapshot] = []
  private(set) var isAbsent = true
  /// Since when each key has been active without a break; nil where it isn't.
  private(set) var activeSince: [Instant?] = Array(repeating: nil, count: SimulatedKeys.all.count)

  /// Since when neither the store nor any past that it has had, through which a mirror may have to follow it, has ended each key; nil where
  /// it isn't active.
  private(set) var unendedSince: [Instant?] = Array(repeating: nil, count: SimulatedKeys.all.count)

  /// What keys were in the pasts that the store was given, and when it was given them.
  private var past: [(number: Int, holding: Holding, at: Instant)] = []

  var current: Snapshot? { isAbsent ? nil : snapshots.last }

  mutating func becomes(
    epoch: String, version: UInt64, sealed: Bool, holdings: Holdings, passing: Bool = false, at now: Instant
  ) {
    ends(at: now)
    isAbsent = false
    snapshots.append(
      Snapshot(
        epoch: epoch, version: version, sealed: sealed, holdings: holdings, from: now, until: nil, isPassing: passing))
    for (number, holding) in holdings.enumerated() {
      if !holding.isActive {
        activeSince[number] = nil
        unendedSince[number] = nil
      } else if activeSince[number] == nil {
        activeSince[number] = now
        unendedSince[number] = now
      }
    }
  }

  /// The store has a past now in which a key was this: a mirror that follows it passes through that, whenever it was.
  mutating func had(_ number: Int, as holding: Holding, at now: Instant) {
    past.append((number, holding, now))
    if !holding.isActive, unendedSince[number] != nil { unendedSince[number] = now }
  }

  /// Whether a key was this at some moment from then on, or a mirror had reason to take it for this.
  func was(_ number: Int, _ holding: Holding, since then: Instant) -> Bool {
    since(then).contains { $0.holdings[number].isLike(holding) }
      || past.contains { $0.number == number && $0.holding.isLike(holding) && $0.at >= then }
  }

  /// Whether a store said of a key from then on that it has ended, or has a past by now in which it did.
  func ended(_ number: Int, since then: Instant) -> Bool {
    func isEnd(_ holding: Holding) -> Bool { holding.state == .suspended || holding.state == .revoked }
    return since(then).contains { isEnd($0.holdings[number]) }
      || past.contains { $0.number == number && isEnd($0.holding) && $0.at >= then }
  }

  /// There is no store any more.
  mutating func vanishes(at now: Instant) {
    ends(at: now)
    isAbsent = true
    for number in activeSince.indices { (activeSince[number], unendedSince[number]) = (nil, nil) }
  }

  private mutating func ends(at now: Instant) {
    if !isAbsent { snapshots[snapshots.count - 1].until = now }
  }

  /// All that it was at some moment from then on, the latest first.
  func since(_ then: Instant) -> some Sequence<Snapshot> {
    snapshots.reversed().lazy.prefix { $0.until.map { $0 >= then } ?? true }
  }

  /// Whether this is the store at this version.
  func matches(_ held: Holdings, epoch: String, version: UInt64) -> Bool {
    snapshots.reversed().contains { $0.version == version && $0.epoch == epoch && $0.holdings == held }
  }
}
