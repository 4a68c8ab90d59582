// The reading of the change stream since the store was compared: whether what a read brings counts, and what it must
// lead to.

/// One read of changes at a time, and the position that they must reach.
struct ChangeFeed {
  /// A position that was read and that the mirror hasn't reached yet.
  struct Expected {
    let position: StorePosition
    /// When the reply arrived.
    let since: Instant
    /// When its read was sent.
    let readSentAt: Instant
  }

  /// When the last read was sent; nil before there was one.
  private var sentAt: Instant?
  /// Whether that read is still on its way. Until then what comes was asked for before the store was compared, and
  /// doesn't count.
  private var isOnItsWay = false
  /// Whether the stream could be read since the last comparison. Without it a stream that can't would be tried again
  /// and again without a pause.
  private(set) var wasAnswered = false
  /// The stream can't be followed on from here: the manifest has to be compared first.
  private(set) var isBroken = false
  /// The oldest position that hasn't been reached.
  private(set) var expected: Expected?

  mutating func sent(at now: Instant) {
    isOnItsWay = true
    sentAt = now
  }

  /// Called when a reply arrived.
  /// - Returns: Whether it counts.
  mutating func came() -> Bool {
    defer { isOnItsWay = false }
    return isOnItsWay
  }

  mutating func read() { wasAnswered = true }

  mutating func breakOff() { isBroken = true }

  mutating func expect(_ position: Expected) {
    if expected == nil { expected = position }
  }

  /// The expectation for this version, which the mirror has reached now.
  mutating func reached(_ version: UInt64) -> Expected? {
    guard let expected, expected.position.version == version else { return nil }
    self.expected = nil
    return expected
  }

  /// The version that a read should have returned, because it was sent after the store had named that version, and
  /// hasn't.
  func missing(after applied: UInt64) -> UInt64? {
    guard let expected, let sentAt, expected.since < sentAt, expected.position.version > applied else { return nil }
    return expected.position.version
  }
}
