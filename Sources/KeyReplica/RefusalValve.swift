// Stops refusals of unknown keys when most keys are unknown.
//
// A refusal is proven against the store. But the store is a copy of somebody's database. If it was filled from a list
// that ended half-way, or if it is the wrong one, every proof is right and the customers are refused all the same. It
// shows in what clients send: suddenly most of the keys that a node is shown are unknown. All incidents that Sluice was
// built on looked like that.
//
// So the distinct keys of the last minute are counted: those that were admitted, and those for which a refusal as
// unknown was proven. If the unknown ones are at least 10 and more than half of all, the valve closes, and unknown keys
// are answered 503. It opens again when twice as many unknown keys wouldn't be more than half, or when an operator has
// confirmed that so many are unknown for a good reason (agents of former customers push for years): then it stays open
// for up to twice the number that was confirmed.
//
// It can only turn a refusal into a 503, so it fails safe. A flood of random keys closes it: their senders wait, and so
// does whoever mistyped a key. Admitted keys aren't affected, and neither are suspended and revoked ones: the store has a
// record that says why they are refused.
//
// What it doesn't notice: fewer unknown keys than admitted ones, and fewer than 10 in a minute. Until it closes fewer
// than 10 distinct keys are refused, or as many as were admitted in that minute.
//
// Rejected: counting requests. One client with a wrong key that tries again without a pause would close it. Rejected: a
// share of refusals over hours. The customers that are refused first are those that push most.

/// Decides whether a key that is proven unknown may be refused now.
struct RefusalValve {
  /// The admitted keys of the window, noted by the event loops too.
  private let admitted: RecentKeys
  /// The keys of the window for which a refusal as unknown was proven.
  private let unknown = RecentKeys()

  private let minimum: Int
  private let share: Int
  private let half: Duration
  /// When the present half of the window ends.
  private var halfEnds: Instant

  /// Whether unknown keys are not refused.
  private(set) var isClosed = false
  /// How many distinct unknown keys within a window an operator has confirmed.
  private var confirmed = 0

  /// - Parameters:
  ///   - minimum: With fewer distinct unknown keys it doesn't close.
  ///   - share: In percent of all distinct keys; it closes above. At 100 it never does.
  init(minimum: Int, share: Int, window: Duration, admitted: RecentKeys, now: Instant) {
    self.minimum = minimum
    self.share = share
    self.admitted = admitted
    half = window / 2
    halfEnds = now + half
  }

  /// What is known of the last window.
  var counts: RecentKeyCounts {
    RecentKeyCounts(unknown: unknown.count, admitted: admitted.count, confirmed: confirmed, isStorm: isClosed)
  }

  /// Forgets what is too old. Called with each event.
  mutating func advance(to now: Instant) {
    guard halfEnds <= now else { return }
    // After three turns without an event nothing is left that could be forgotten, and it is open.
    for _ in 0..<3 where halfEnds <= now {
      turn()
      halfEnds = halfEnds + half
    }
    if halfEnds <= now { halfEnds = now + half }
  }

  private mutating func turn() {
    // Only now do the counts cover a whole window. The half that has just passed must say the same, or it would close
    // again at once.
    let isOverByBoth = isOver
    unknown.turn()
    admitted.turn()
    if isClosed, isOverByBoth, isOver { isClosed = false }
  }

  /// An admitted key was shown.
  func noteAdmitted(_ key: KeyID) { admitted.note(key) }

  /// A key was shown that is proven unknown.
  /// - Returns: Whether it may be refused.
  mutating func mayRefuse(_ key: KeyID) -> Bool {
    unknown.note(key)
    if !isClosed { isClosed = isStorm(unknown.count) }
    return !isClosed
  }

  /// The store was read, in which an operator has confirmed this number of distinct unknown keys in a window.
  mutating func heard(confirmed number: Int) {
    guard number != confirmed else { return }
    confirmed = number
    isClosed = isClosed ? unknown.count > allowed : isStorm(unknown.count)
  }

  private func isStorm(_ unknown: Int) -> Bool {
    unknown >= minimum && unknown > allowed && isTooMany(unknown)
  }

  private var allowed: Int { confirmed * RecentKeyCounts.multiple }

  private var isOver: Bool {
    let unknown = unknown.count
    return unknown <= allowed || !isTooMany(2 * unknown)
  }

  private func isTooMany(_ unknown: Int) -> Bool { unknown * 100 > share * (unknown + admitted.count) }
}

/// The distinct keys that were shown within the last window, and what follows for unknown ones.
public struct RecentKeyCounts: Sendable, Hashable {
  /// Those whose refusal as unknown was proven.
  public var unknown: Int
  public var admitted: Int
  /// How many unknown keys an operator has confirmed.
  public var confirmed: Int
  /// Whether unknown keys are answered 503 because they are too many.
  public var isStorm: Bool

  /// The largest number that can be confirmed: more can't be counted reliably.
  public static let confirmedLimit = 500_000

  /// How many times the confirmed number may be shown before unknown keys are answered 503.
  public static let multiple = 2

  public init(unknown: Int = 0, admitted: Int = 0, confirmed: Int = 0, isStorm: Bool = false) {
    self.unknown = unknown
    self.admitted = admitted
    self.confirmed = confirmed
    self.isStorm = isStorm
  }
}
