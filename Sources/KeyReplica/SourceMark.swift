// How far the store is known to be equal to the source, the customers' own database. A publisher that follows the source
// says, again and again: everything that was committed there before this moment is in the store. The moment is Redis's
// time as it was before the source was read, and it is compared with Redis's time only, so no two clocks are compared.
//
// It stands beside the store's versions and not in them: it moves each second, and is no change.

/// As of when the store is equal to the source, as the store said at one moment.
public struct SourceMark: Sendable, Hashable {
  /// Everything that was committed in the source before this is in the store: microseconds since 1970, by Redis's
  /// clock. Nil if nobody has ever said so.
  public var moment: UInt64?
  /// How old it may be for a refusal; nil for no bound.
  public var maxAge: Duration?
  /// Redis's time when this was read, in the same step; nil if Redis doesn't tell it.
  public var readAt: UInt64?

  /// The largest number in a mark: Redis's Lua counts in doubles, and beyond this they have gaps.
  public static let limit: UInt64 = (1 << 53) - 1

  public init(moment: UInt64? = nil, maxAge: Duration? = nil, readAt: UInt64? = nil) {
    self.moment = moment
    self.maxAge = maxAge
    self.readAt = readAt
  }

  /// How old it was when it was read. Nil if that is unknown: there is none, Redis doesn't tell the time, or it is
  /// later than Redis's time, because the clock was set back.
  public var age: Duration? {
    guard let moment, let readAt, moment <= readAt, readAt <= Self.limit else { return nil }
    return .microseconds(Int64(readAt - moment))
  }

  /// Whether the store is known to be as new as its bound demands. Without a bound it always is.
  public var isWithinBound: Bool {
    guard let maxAge else { return true }
    return age.map { $0 <= maxAge } ?? false
  }

  /// Whether everything that was committed before a moment is in the store.
  /// - Parameter arrival: Redis's time, as a position that was read after the arrival of a request brought it.
  public func covers(_ arrival: UInt64) -> Bool {
    guard let moment, age != nil else { return false }
    return moment >= arrival
  }
}
