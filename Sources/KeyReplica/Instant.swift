/// A time on a monotonic clock, in nanoseconds since an arbitrary start. Nothing in this module reads a clock: the
/// driver passes times from the machine's clock, and tests from a simulated one.
public struct Instant: Sendable, Hashable, Comparable {
  public var nanoseconds: Int64

  public init(nanoseconds: Int64) { self.nanoseconds = nanoseconds }

  public static func < (left: Instant, right: Instant) -> Bool { left.nanoseconds < right.nanoseconds }

  public static func + (left: Instant, right: Duration) -> Instant {
    Instant(nanoseconds: left.nanoseconds + right.wholeNanoseconds)
  }

  public static func - (left: Instant, right: Instant) -> Duration {
    .nanoseconds(left.nanoseconds - right.nanoseconds)
  }
}

extension Duration {
  /// As an integer number of nanoseconds, enough for 292 years.
  public var wholeNanoseconds: Int64 {
    components.seconds * 1_000_000_000 + components.attoseconds / 1_000_000_000
  }

  /// In seconds, for people and JSON.
  public var fractionalSeconds: Double { Double(wholeNanoseconds) / 1e9 }
}
