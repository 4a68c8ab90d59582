// Decides which accounts hold too many bytes that may stay for long: no I/O and no clock. There are two kinds of such
// bytes: dead letters, which only operators remove, and payloads that wait for a retry, for as long as the sink doesn't
// accept them.
//
// The limit of an account is a part of the free room: the room for all payloads, less the bytes of all accounts.
// (Switches divide their shared buffers in the same way, by "dynamic thresholds".) So the limit falls while these bytes
// grow. However many accounts hold some, some room stays free, without a second limit for the total: with a limit of a
// sixteenth, one account at its limit uses a seventeenth of the room, and sixteen accounts a half. An account without
// such bytes is never refused.
//
// A refused account is accepted again below three quarters of its limit, because the room changes a little with each
// reading.
//
// Rejected: a fixed share for each account and a limit for the total. If the total is reached, either all accounts with
// such bytes are refused, or none can be.

/// Limits the pushes of accounts with many bytes that may stay for long.
public struct AccountQuota: Sendable, Equatable {
  /// The refused accounts, and how many bytes each has.
  public private(set) var told: [String: Int64] = [:]
  /// Their hashes, as in ``AccountShuffleShard``.
  private(set) var hashes: Set<UInt64> = []
  /// Upper limit for one account's bytes, now.
  public private(set) var limit: Int64 = 0
  /// The free room and the bytes of all accounts together.
  public private(set) var room: Int64 = 0

  private let share: Int64

  /// - Parameter share: The limit is the free room divided by this number.
  init(share: Int64) { self.share = share }

  /// Dead letters stay until an operator reacts.
  static let deadLetters = AccountQuota(share: 16)
  /// Payloads that wait for a retry are usual if a sink is unreachable for a while, so an account may use a third of
  /// the room.
  static let retries = AccountQuota(share: 2)

  /// - Parameter left: The free room, without the bytes of these accounts.
  mutating func read(_ bytes: AccountBytes, left: Int64) {
    room = bytes.all + max(left, 0)
    limit = max(left, 0) / share
    let before = told
    told = [:]
    // No request has the account with the empty name.
    for account in bytes.accounts where !account.name.isEmpty {
      let bound = before[account.name] == nil ? limit : limit / 4 * 3
      if account.bytes > bound { told[account.name] = account.bytes }
    }
    if told.keys != before.keys { hashes = Set(told.keys.map { AccountShuffleShard.hash(of: $0) }) }
  }
}
