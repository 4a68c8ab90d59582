// Reads the change stream after the store was compared: decides whether a reply is used or ignored, and to which
// version it must lead.

/// The state of following the stream: at most one read of changes at a time, and the position that it must reach.
struct ChangeFeed {
  /// A position that was read and that the mirror hasn't reached yet.
  struct Expected {
    let position: StorePosition
    /// When the reply arrived.
    let since: Instant
    /// When its read was sent.
    let readSentAt: Instant
  }

  /// When the last read was sent; nil before the first one.
  private var sentAt: Instant?
  /// Whether that read is still in flight. A reply without such a read was requested before the store was compared, and
  /// doesn't count.
  private var isOnItsWay = false
  /// Whether the stream was read since the last comparison. Without this flag an unreadable stream would be read again
  /// and again without a pause.
  private(set) var wasAnswered = false
  /// Whether the stream can't be followed any further: the manifest has to be compared first.
  private(set) var isBroken = false
  /// The oldest position that hasn't been reached.
  private(set) var expected: Expected?

  mutating func sent(at now: Instant) {
    isOnItsWay = true
    sentAt = now
  }

  /// Call it when a reply arrives.
  /// - Returns: False if no read is in flight: the reply is to a read from before the last comparison and must be
  ///   ignored.
  mutating func came() -> Bool {
    defer { isOnItsWay = false }
    return isOnItsWay
  }

  mutating func read() { wasAnswered = true }

  mutating func breakOff() { isBroken = true }

  mutating func expect(_ position: Expected) {
    if expected == nil { expected = position }
  }

  /// Removes and returns the expected position, if the mirror has just reached this version.
  mutating func reached(_ version: UInt64) -> Expected? {
    guard let expected, expected.position.version == version else { return nil }
    self.expected = nil
    return expected
  }

  /// The expected version, if a read that was sent after the store had reported that version didn't return it.
  func missing(after applied: UInt64) -> UInt64? {
    guard let expected, let sentAt, expected.since < sentAt, expected.position.version > applied else { return nil }
    return expected.position.version
  }
}
