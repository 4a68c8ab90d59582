// Which accounts have so many dead letters that nothing more is taken from them: no I/O and no clock.
//
// An account may have dead letters up to a sixteenth of the room that all dead letters leave (as shared buffers of
// switches are divided, by "dynamic thresholds"). So the bound gets narrower as dead letters get more. However many
// accounts have them, and with no second bound for all together, there is room left: of one account at its bound a
// sixteenth of the room is gone, of sixteen a half. An account without dead letters is never told.
//
// Whoever is told is so until it has less than three quarters of its bound, because the room moves a little with each
// reading.
//
// Rejected: a fixed share for each and one for all. When the latter is reached it is everybody with a dead letter who
// would be told, or nobody who can be.

/// Bounds what accounts with dead letters may push.
public struct DeadLetterQuota: Sendable, Equatable {
  /// The accounts that are told, and how many bytes of dead letters each has.
  public private(set) var told: [String: Int64] = [:]
  /// Their hashes, as ``AccountShuffleShard`` makes them.
  private(set) var hashes: Set<UInt64> = []
  /// Bytes of dead letters that an account may have now.
  public private(set) var limit: Int64 = 0
  /// Bytes that payloads and dead letters may have together.
  public private(set) var room: Int64 = 0

  /// An account may have one part in so many of what is left.
  static let share: Int64 = 16

  /// - Parameter left: Bytes that payloads may have beside the dead letters.
  mutating func read(_ letters: DeadLetterBytes, left: Int64) {
    room = letters.all + max(left, 0)
    limit = max(left, 0) / Self.share
    let before = told
    told = [:]
    // Nobody pushes as the account without a name.
    for account in letters.accounts where !account.name.isEmpty {
      let bound = before[account.name] == nil ? limit : limit / 4 * 3
      if account.bytes > bound { told[account.name] = account.bytes }
    }
    if told.keys != before.keys { hashes = Set(told.keys.map { AccountShuffleShard.hash(of: $0) }) }
  }
}
