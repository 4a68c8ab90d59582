// The source mark shows up to which moment the store is equal to the source, the customers' own database. A follower
// writes the mark again and again: everything that was committed in the source before this moment is in the store. The
// moment is Redis's time before the follower read the source. It is compared only with Redis's own time, so the clocks
// of two machines are never compared.
//
// Writing a mark isn't a change of the store and doesn't raise its version, because the mark moves each second.

/// The source mark and its maximum age, as read from the store at one moment.
public struct SourceMark: Sendable, Hashable {
  /// Everything that was committed in the source before this moment is in the store. In microseconds since 1970, by
  /// Redis's clock; nil if the store was never marked.
  public var moment: UInt64?
  /// The maximum age of the mark for refusals; nil for no limit.
  public var maxAge: Duration?
  /// Redis's time when the mark was read, from the same step; nil if Redis denies the command `TIME`.
  public var readAt: UInt64?

  /// The largest number in a mark. Redis's Lua uses doubles, which aren't exact for larger integers.
  public static let limit: UInt64 = (1 << 53) - 1

  public init(moment: UInt64? = nil, maxAge: Duration? = nil, readAt: UInt64? = nil) {
    self.moment = moment
    self.maxAge = maxAge
    self.readAt = readAt
  }

  /// The mark's age when it was read. Nil if the age is unknown: there is no mark, Redis denies `TIME`, or the mark is
  /// in the future because Redis's clock was set back.
  public var age: Duration? {
    guard let moment, let readAt, moment <= readAt, readAt <= Self.limit else { return nil }
    return .microseconds(Int64(readAt - moment))
  }

  /// Whether the mark is at most as old as its maximum age. True if there is no maximum age; false if the mark's age is
  /// unknown.
  public var isWithinBound: Bool {
    guard let maxAge else { return true }
    return age.map { $0 <= maxAge } ?? false
  }

  /// Whether everything that was committed before a moment is in the store.
  /// - Parameter arrival: Redis's time from a read of the position that began after a request's arrival.
  public func covers(_ arrival: UInt64) -> Bool {
    guard let moment, age != nil else { return false }
    return moment >= arrival
  }
}
