// The reading of the change stream: which read is on its way, whether what it brings still counts, and what it must lead to.

/// One read of changes at a time, and the position that they must reach.
struct ChangeFeed {
  /// A position that was read and that the mirror hasn't reached yet.
  struct Expected {
    let position: StorePosition
    /// When the answer came.
    let since: Instant
    /// When its read was sent.
    let readSentAt: Instant
  }

  /// Whether a read is on its way. The next one waits for it: a conversation answers in order.
  private var isReading = false
  /// Whether what it brings still counts; not if the store was compared since.
  private var counts = false
  private var sentAt: Instant
  /// Whether the stream could be read since the last comparison. Without it a stream that can't would be tried again and again
  /// without a pause.
  private(set) var wasAnswered = false
  /// The stream can't be followed on from here: the manifest has to be compared first.
  private var isBroken = false
  /// The oldest that hasn't been reached.
  private(set) var expected: Expected?

  init(now: Instant) { sentAt = now }

  var mayRead: Bool { !isReading && !isBroken }

  mutating func sent(at now: Instant) {
    isReading = true
    counts = true
    sentAt = now
  }

  /// An answer came.
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

  /// Another conversation: nothing is on its way in it.
  mutating func reconnected() {
    isReading = false
    counts = false
  }

  /// The store is compared: what was expected was of what had been mirrored until now, maybe of another history.
  mutating func restarted() {
    counts = false
    isBroken = false
    wasAnswered = false
    expected = nil
  }

  mutating func expect(_ position: Expected) {
    if expected == nil { expected = position }
  }

  /// What was expected of this version, which the mirror has reached now.
  mutating func reached(_ version: UInt64) -> Expected? {
    guard let expected, expected.position.version == version else { return nil }
    self.expected = nil
    return expected
  }

  /// The version that a read which was sent after the store had told of it should have brought, and hasn't.
  func missing(after applied: UInt64) -> UInt64? {
    guard let expected, expected.since < sentAt, expected.position.version > applied else { return nil }
    return expected.position.version
  }
}
