// Decides when a follower compares the whole store with the whole source: at the start, then at a regular interval, at
// once after a sign that the two may differ, and after a pause if a comparison was refused or failed. It reads no clock
// and does no I/O.

/// The time of the next comparison, and whether the store is known to be equal to the source.
struct FollowPlan: Sendable {
  typealias Instant = ContinuousClock.Instant

  /// The time between regular comparisons.
  let interval: Duration
  /// The pause after a comparison that was refused or failed.
  static let retry: Duration = .seconds(60)

  /// Whether the store is known to be equal to the source. The store is marked only while this is true.
  private(set) var isEqual = false
  private(set) var isComparing = false
  private var due: Instant
  /// Whether the running comparison may have missed a change, so that another comparison must follow.
  private var isWantedAgain = false
  private var beganAt: Instant
  /// How long the last comparison took.
  private var took = Duration.zero

  init(interval: Duration, now: Instant) {
    self.interval = interval
    (due, beganAt) = (now, now)
  }

  /// Whether a comparison must begin now.
  func isDue(_ now: Instant) -> Bool { !isComparing && now >= due }

  mutating func began(_ now: Instant) {
    isComparing = true
    beganAt = now
    isWantedAgain = false
  }

  /// A comparison made the store equal to the source.
  /// - Parameter overtaken: Whether another program changed keys at the same time. Then another comparison follows.
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

  /// A comparison was refused or failed.
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

  /// The store may differ from the source because another program writes to it. Such a program may go on writing, so
  /// the next comparison waits for a multiple of the last one's duration. Otherwise the follower would compare all the
  /// time.
  mutating func doubtLater(now: Instant) {
    isWantedAgain = true
    guard isEqual else { return }
    isEqual = false
    if !isComparing { due = now + min(took * 5, Self.retry) }
  }
}
