// Decides which accounts have too many dead letters to push more: no I/O and no clock.
//
// An account may have dead letters up to a sixteenth of the room that all dead letters leave (as shared buffers of
// switches are divided, by "dynamic thresholds"). So the limit becomes lower as dead letters become more. However many
// accounts have them, and with no second limit for the total, there is room left: with one account at its limit a
// sixteenth of the room is used, with sixteen a half. An account without dead letters is never refused.
//
// An account is refused until it has less than three quarters of its limit, because the room changes a little with each
// reading.
//
// Rejected: a fixed share for each account and a limit for the total. If the total is reached, either everybody with a
// dead letter is refused, or nobody can be.

/// Limits the pushes of accounts with dead letters.
public struct DeadLetterQuota: Sendable, Equatable {
  /// The refused accounts, and how many bytes of dead letters each has.
  public private(set) var told: [String: Int64] = [:]
  /// Their hashes, as in ``AccountShuffleShard``.
  private(set) var hashes: Set<UInt64> = []
  /// Maximum bytes of dead letters of one account now.
  public private(set) var limit: Int64 = 0
  /// Bytes for payloads and dead letters together.
  public private(set) var room: Int64 = 0

  /// An account may have one part in this number of the room that is left.
  static let share: Int64 = 16

  /// - Parameter left: Bytes for payloads beside the dead letters.
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
