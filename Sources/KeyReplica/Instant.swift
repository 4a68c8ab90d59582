/// A time on a clock that never goes back, in nanoseconds since some start. Nothing in this module reads a clock: times
/// are passed in, by the driver from the machine's clock and by tests from one of their own.
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
  /// In nanoseconds, which are enough for 292 years.
  public var wholeNanoseconds: Int64 {
    components.seconds * 1_000_000_000 + components.attoseconds / 1_000_000_000
  }

  /// In seconds, for people and JSON.
  public var fractionalSeconds: Double { Double(wholeNanoseconds) / 1e9 }
}
