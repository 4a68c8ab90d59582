// Decides which accounts have too many dead letters to push more: no I/O and no clock.
//
// The limit of an account is a sixteenth of the free room: the room for payloads and dead letters, less all dead
// letters. (Switches divide their shared buffers in the same way, by "dynamic thresholds".) So the limit falls while
// dead letters grow. However many accounts have dead letters, some room stays free, without a second limit for the
// total: with one account at its limit a sixteenth of the room is used, with sixteen accounts a half. An account
// without dead letters is never refused.
//
// A refused account is accepted again below three quarters of its limit, because the room changes a little with each
// reading.
//
// Rejected: a fixed share for each account and a limit for the total. If the total is reached, either all accounts with
// a dead letter are refused, or none can be.

/// Limits the pushes of accounts with dead letters.
public struct DeadLetterQuota: Sendable, Equatable {
  /// The refused accounts, and how many bytes of dead letters each has.
  public private(set) var told: [String: Int64] = [:]
  /// Their hashes, as in ``AccountShuffleShard``.
  private(set) var hashes: Set<UInt64> = []
  /// Upper limit for one account's bytes of dead letters, now.
  public private(set) var limit: Int64 = 0
  /// Bytes for payloads and dead letters together.
  public private(set) var room: Int64 = 0

  /// The limit is the free room divided by this number.
  static let share: Int64 = 16

  /// - Parameter left: Room for payloads, without the bytes of dead letters.
  mutating func read(_ letters: DeadLetterBytes, left: Int64) {
    room = letters.all + max(left, 0)
    limit = max(left, 0) / Self.share
    let before = told
    told = [:]
    // No request has the account with the empty name.
    for account in letters.accounts where !account.name.isEmpty {
      let bound = before[account.name] == nil ? limit : limit / 4 * 3
      if account.bytes > bound { told[account.name] = account.bytes }
    }
    if told.keys != before.keys { hashes = Set(told.keys.map { AccountShuffleShard.hash(of: $0) }) }
  }
}
