// When a follower compares everything, as a pure decision: at the start, each interval, at once where something says that
// the store may differ from the source, and again after a while where it couldn't be done.

/// When the store is compared with the source, and whether it is known to be equal to it.
struct FollowPlan: Sendable {
  typealias Instant = ContinuousClock.Instant

  /// Between one comparison and the next.
  let interval: Duration
  /// After one that was refused or failed.
  static let retry: Duration = .seconds(60)

  /// Whether everything up to the last look at the source is in the store: only then it is marked.
  private(set) var isEqual = false
  private(set) var isComparing = false
  private var due: Instant
  /// Whether something happened while a comparison ran that it may have missed.
  private var isWantedAgain = false
  private var beganAt: Instant
  /// How long the last one took.
  private var took = Duration.zero

  init(interval: Duration, now: Instant) {
    self.interval = interval
    (due, beganAt) = (now, now)
  }

  /// Whether one is to begin now.
  func isDue(_ now: Instant) -> Bool { !isComparing && now >= due }

  mutating func began(_ now: Instant) {
    isComparing = true
    beganAt = now
    isWantedAgain = false
  }

  /// A comparison made the store equal to the source.
  /// - Parameter overtaken: Whether others changed keys at the same time, so that it is done again.
  mutating func ended(overtaken: Bool, now: Instant) {
    isComparing = false
    took = now - beganAt
    if overtaken || isWantedAgain {
      due = now + (overtaken ? .zero : min(took, Self.retry))
    } else {
      isEqual = true
      due = now + interval
    }
  }

  /// A comparison wasn't done.
  mutating func failed(now: Instant) {
    isComparing = false
    isEqual = false
    due = now + min(interval, Self.retry)
  }

  /// The store may differ from the source.
  mutating func doubt(now: Instant) {
    isEqual = false
    isWantedAgain = true
    if !isComparing { due = now }
  }

  /// The same, where it may be so again and again, since somebody else writes the store: most of the time isn't spent
  /// with comparing.
  mutating func doubtLater(now: Instant) {
    isWantedAgain = true
    guard isEqual else { return }
    isEqual = false
    if !isComparing { due = now + min(took * 5, Self.retry) }
  }
}
