// When a key ends. The store's record of a key may have a time from which on the key is refused, without any further
// change of the record. Two clocks could decide that: the node's or Redis's. Many nodes have many clocks, and some of
// them are wrong, so only Redis's clock decides. Each read of the store's position brings Redis's time from the same
// step. A key is refused as expired only by a read that was sent after the request arrived, and whose time isn't before
// the key's expiry.
//
// But an admitted request needs no read. So a node calculates from the last read when Redis's clock may reach a key's
// expiry at the earliest, on its own monotonic clock. From then on the key isn't admitted without a read. The time of
// day of the node plays no part. If the node's monotonic clock is too slow or stands still, the next read corrects it.
//
// If Redis denies the command TIME, nothing can be proven about expiries, and the keys stay admitted.

/// The time at which a key ends, as the mirror stores it. Four bytes, in a gap of the mirror's entries, so an expiry
/// needs no memory.
struct KeyExpiry: Sendable, Hashable {
  /// Seconds since 1970; 0 for none.
  let seconds: UInt32

  /// The key doesn't end.
  static let none = KeyExpiry(seconds: 0)

  init(seconds: UInt32) { self.seconds = seconds }

  /// - Parameter moment: From a record, in seconds since 1970. An end after the year 2105 is no end: that is too late
  ///   for four bytes, and for this build.
  init(_ moment: Int64?) {
    // 0 means none here. A key that ended in the first second of 1970 ended a second later.
    seconds = moment.flatMap { UInt32(exactly: max($0, 1)) } ?? 0
  }

  var isNone: Bool { seconds == 0 }

  /// Whether a clock with this time has reached the expiry.
  /// - Parameter time: In microseconds since 1970.
  func isReached(at time: UInt64) -> Bool { !isNone && UInt64(seconds) * 1_000_000 <= time }
}

/// Redis's clock, as a node knows it from a read of the store's position.
struct StoreClock: Sendable, Hashable {
  /// Redis's time when the monotonic clock was 0, in nanoseconds since 1970, or a little later than that.
  let offset: Int64

  init(offset: Int64) { self.offset = offset }

  /// - Parameters:
  ///   - time: Redis's time in the reply, in microseconds since 1970.
  ///   - sentAt: When the read was sent. Redis read its clock after that, so the calculated clock isn't slow.
  init?(time: UInt64, readSentAt sentAt: Instant) {
    guard time <= SourceMark.limit else { return nil }
    offset = Int64(time) * 1000 - sentAt.nanoseconds
  }

  /// The earliest time at which Redis's clock reaches a key's expiry.
  func earliest(_ expiry: KeyExpiry) -> Instant { Instant(nanoseconds: Int64(expiry.seconds) * 1_000_000_000 - offset) }
}

/// A key that stays admitted although the store doesn't have it as active.
struct HeldBackKey: Sendable, Hashable {
  let account: String
  /// The end that the key's last record gave.
  let expiry: KeyExpiry
}
