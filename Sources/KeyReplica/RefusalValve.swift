// Suspends refusals of unknown keys while most keys that clients send are unknown.
//
// A refusal is proven against the store. But the store is a copy of the customers' database. If the store was filled
// from a list that was cut off, or if it is the wrong store, every proof is right, and customers are refused all the
// same. Only the clients' keys show the mistake: suddenly most of them are unknown. All incidents that Sluice was built
// on looked like that.
//
// So the valve counts the distinct keys of the last minute: the admitted keys, and the keys that are proven unknown. If
// at least 10 keys are unknown, and more than half of all, the valve closes: the node answers unknown keys 503. In
// messages and documents a closed valve is called a refusal storm. The valve opens again when the unknown keys are at
// most half as many as the admitted keys, for a whole window. It also opens when an operator confirms the number of
// unknown keys, because they are unknown for a good reason: agents of former customers push for years. From then on the
// valve stays open for up to twice the confirmed number.
//
// The valve can only turn a refusal into a 503, so it fails safe. A flood of random keys closes the valve. Then the
// senders of these keys wait, and so does a client with a mistyped key. Admitted keys aren't affected. Suspended and
// revoked keys are refused as before, because each of them has a record that says why.
//
// The valve doesn't notice fewer than 10 unknown keys in a minute, or fewer unknown than admitted keys. So before it
// closes, a node refuses at most 9 distinct unknown keys, or as many as it admitted in that minute if those are more.
//
// Rejected: counting requests. One client with a wrong key that tries again without a pause would close the valve.
// Rejected: a share of refusals over hours. The first customers to be refused are those that push most.

/// Decides whether a key that is proven unknown may be refused now.
struct RefusalValve {
  /// The admitted keys of the window. Event loops note keys here too.
  private let admitted: RecentKeys
  /// The keys of the window that are proven unknown.
  private let unknown = RecentKeys()

  private let minimum: Int
  private let share: Int
  private let half: Duration
  /// When the present half of the window ends.
  private var halfEnds: Instant

  /// Whether refusals of unknown keys are suspended.
  private(set) var isClosed = false
  /// The number of distinct unknown keys in a window that an operator has confirmed.
  private var confirmed = 0

  /// - Parameters:
  ///   - minimum: The valve doesn't close at fewer distinct unknown keys.
  ///   - share: The valve closes if more than this share of all distinct keys is unknown, in percent. At 100 it never
  ///     closes.
  init(minimum: Int, share: Int, window: Duration, admitted: RecentKeys, now: Instant) {
    self.minimum = minimum
    self.share = share
    self.admitted = admitted
    half = window / 2
    halfEnds = now + half
  }

  /// The counts of the last window.
  var counts: RecentKeyCounts {
    RecentKeyCounts(unknown: unknown.count, admitted: admitted.count, confirmed: confirmed, isStorm: isClosed)
  }

  /// Forgets keys that are too old. Called at each event.
  mutating func advance(to now: Instant) {
    guard halfEnds <= now else { return }
    // After three turns without an event all keys are forgotten, and the valve is open.
    for _ in 0..<3 where halfEnds <= now {
      turn()
      halfEnds = halfEnds + half
    }
    if halfEnds <= now { halfEnds = now + half }
  }

  private mutating func turn() {
    // Only now do the counts cover a whole window. After the turn they cover its later half alone, and the storm must
    // be over by that half's counts too. Otherwise the valve would close again at once.
    let isOverByBoth = isOver
    unknown.turn()
    admitted.turn()
    if isClosed, isOverByBoth, isOver { isClosed = false }
  }

  /// A client sent a key that was admitted.
  func noteAdmitted(_ key: KeyID) { admitted.note(key) }

  /// A client sent a key that is proven unknown.
  /// - Returns: Whether the key may be refused.
  mutating func mayRefuse(_ key: KeyID) -> Bool {
    unknown.note(key)
    if !isClosed { isClosed = isStorm(unknown.count) }
    return !isClosed
  }

  /// The store was read.
  /// - Parameter number: The number of distinct unknown keys in a window that an operator has confirmed.
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

/// The distinct keys that clients sent within the last window, and whether unknown keys are refused.
public struct RecentKeyCounts: Sendable, Hashable {
  /// Keys that are proven unknown.
  public var unknown: Int
  public var admitted: Int
  /// The number of unknown keys that an operator has confirmed.
  public var confirmed: Int
  /// Whether unknown keys are answered 503 because there are too many.
  public var isStorm: Bool

  /// The largest number that can be confirmed. Larger numbers can't be counted reliably.
  public static let confirmedLimit = 500_000

  /// How many times the confirmed number of unknown keys is refused, before unknown keys are answered 503.
  public static let multiple = 2

  public init(unknown: Int = 0, admitted: Int = 0, confirmed: Int = 0, isStorm: Bool = false) {
    self.unknown = unknown
    self.admitted = admitted
    self.confirmed = confirmed
    self.isStorm = isStorm
  }
}
