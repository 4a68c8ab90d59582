// The source mark shows up to which moment the store is equal to the source, the customers' own database. A follower
// writes the mark again and again: everything that was committed in the source before this moment is in the store. The
// moment is Redis's time before the follower read the source. It is compared only with Redis's own time, so the clocks
// of two machines are never compared.
//
// Writing a mark isn't a change of the store and doesn't raise its version, because the mark moves each second. The
// mark includes the version at which the store was equal to the source. At a later version it may no longer be: another
// program may have changed it.

/// What a refusal is proven against.
public enum ProofBasis: String, Codable, Sendable, CaseIterable {
  /// The key store, as it was after the request arrived.
  case store
  /// The source, as it was after the request arrived.
  case source
}

/// The source mark and its maximum age, as read from the store at one moment.
public struct SourceMark: Sendable, Hashable {
  /// Everything that was committed in the source before this moment is in the store. In microseconds since 1970, by
  /// Redis's clock; nil if the store was never marked.
  public var moment: UInt64?
  /// The version at which the store was equal to the source; nil if there is no mark, or if an older build wrote it.
  public var version: UInt64?
  /// The maximum age of the mark for refusals; nil for no limit.
  public var maxAge: Duration?
  /// Whether the store says that there is no limit. A store that says nothing of a limit never had one, or has lost it.
  public var saysNoLimit: Bool
  /// Redis's time when the mark was read, from the same step; nil if Redis denies the command `TIME`.
  public var readAt: UInt64?
  /// Why the mark or its maximum age can't be read, as text; nil if both can be. An unreadable maximum age must not be
  /// taken for none.
  public var flaw: String?

  /// The largest number in a mark. Redis's Lua uses doubles, which aren't exact for larger integers.
  public static let limit: UInt64 = (1 << 53) - 1

  /// The largest maximum age, in milliseconds: ten years, as for all durations of options.
  public static let maxAgeLimit: UInt64 = 10 * 365 * 86_400 * 1_000

  public init(
    moment: UInt64? = nil, version: UInt64? = nil, maxAge: Duration? = nil, saysNoLimit: Bool = false,
    readAt: UInt64? = nil, flaw: String? = nil
  ) {
    self.moment = moment
    self.version = version
    self.maxAge = maxAge
    self.saysNoLimit = saysNoLimit
    self.readAt = readAt
    self.flaw = flaw
  }

  /// The mark's age when it was read. Nil if the age is unknown: there is no mark, it can't be read, Redis denies
  /// `TIME`, or the mark is in the future because Redis's clock was set back.
  public var age: Duration? {
    guard flaw == nil, let moment, let readAt, moment <= readAt, readAt <= Self.limit else { return nil }
    return .microseconds(Int64(readAt - moment))
  }

  /// Whether the mark is at most as old as its maximum age. True if there is no maximum age; false if the mark's age is
  /// unknown.
  public var isWithinBound: Bool {
    guard flaw == nil else { return false }
    guard let maxAge else { return true }
    return age.map { $0 <= maxAge } ?? false
  }

  /// Whether everything that was committed before a moment is in the store.
  /// - Parameter arrival: Redis's time from a read of the position that began after a request's arrival.
  public func covers(_ arrival: UInt64) -> Bool {
    guard let moment, age != nil else { return false }
    return moment >= arrival
  }

  /// The moment of a mark whose age is known; otherwise nil.
  public var knownMoment: UInt64? { age == nil ? nil : moment }
}

extension StorePosition {
  /// Whether the store, at exactly this version, has everything that was committed in the source before a request
  /// arrived.
  ///
  /// A mark that was there when the request arrived is no evidence, whatever its moment: after a failover to a server
  /// whose clock is behind, or after Redis's clock was set back, an old mark can have a late moment.
  /// - Parameter arrival: The mark of a position whose read began after the request's arrival.
  func coversSource(since arrival: SourceMark) -> Bool {
    guard let time = arrival.readAt, source.version == version, source.moment != arrival.moment else { return false }
    return source.covers(time)
  }
}

extension SourceMark {
  /// Why the mark permits no refusal, as text for people.
  var objection: String {
    if let flaw { return "the source mark can't be read: \(flaw)" }
    let needed = maxAge.map { "refusals need a mark of at most \(Self.seconds($0)) (key-publisher source --max-age)" }
    guard let moment else { return "the store has no source mark, and \(needed ?? Self.neededForProof)" }
    guard let age else {
      return readAt.map { moment > $0 } ?? false
        ? "the source mark is in the future: Redis's clock was set back, and the follower hasn't marked the store since"
        : "the age of the source mark is unknown: Redis denies TIME to this node's user"
    }
    if !isWithinBound, let needed { return "the source mark is \(Self.seconds(age)) old, and \(needed)" }
    return "the source mark is \(Self.seconds(age)) old, and \(Self.neededForProof)"
  }

  private static let neededForProof = "refusals need one from after the request's arrival (--prove-against source)"

  private static func seconds(_ duration: Duration) -> String {
    let milliseconds = duration.wholeNanoseconds / 1_000_000
    return milliseconds < 10_000 ? "\(milliseconds) ms" : "\(milliseconds / 1_000) s"
  }
}
