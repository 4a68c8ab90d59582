// The reading of the change stream: which read is in flight, whether its reply still counts, and which version it must
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

  /// Whether a read is in flight. The next one waits for it: a connection answers in order.
  private var isReading = false
  /// Whether its reply still counts; not if the store was compared since.
  private var counts = false
  private var sentAt: Instant
  /// Whether the stream could be read since the last comparison. Without it, a stream that can't be read would be tried
  /// again and again without a pause.
  private(set) var wasAnswered = false
  /// Whether the stream can't be followed any further: the manifest has to be compared first.
  private var isBroken = false
  /// The oldest position that hasn't been reached.
  private(set) var expected: Expected?

  init(now: Instant) { sentAt = now }

  var mayRead: Bool { !isReading && !isBroken }

  mutating func sent(at now: Instant) {
    isReading = true
    counts = true
    sentAt = now
  }

  /// Called when a reply arrived.
  /// - Returns: Whether it counts.
  mutating func came() -> Bool {
    defer {
      isReading = false
      counts = false
    }
    return counts
  }

  mutating func read() { wasAnswered = true }

  mutating func breakOff() { isBroken = true }

  /// Another connection: no read is in flight on it.
  mutating func reconnected() {
    isReading = false
    counts = false
  }

  /// Called when the store is compared. Expectations were about the mirror until now, which may be of another history.
  mutating func restarted() {
    counts = false
    isBroken = false
    wasAnswered = false
    expected = nil
  }

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
    guard let expected, expected.since < sentAt, expected.position.version > applied else { return nil }
    return expected.position.version
  }
}
