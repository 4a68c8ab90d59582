// Estimates which accounts hold much of a shard's queue, from the amounts in its lists: pure. The payloads of an
// account aren't counted. But an account has two lists, and they contain at least its payloads.
//
// The smaller one of the two lists decides. Another account's flood may share one of them with this account; only one
// account in 120 shares both with a given account. A flood fills both of its lists, because its payloads are spread
// over them.
//
// List 0 and the suspects can belong to any account. If most of the waiting payloads are there, the accounts that hold
// much are unknown, and every account may be one of them.
//
// Payloads that wait for a retry are counted by account, and have a limit of their own (see AccountQuota). So nobody is
// taken for their owner here. Otherwise one account whose payloads all wait for a retry would make every account seem
// to hold much.

/// The waiting amount in a shard, list by list: in entries or in bytes.
struct ListAmounts: Equatable {
  /// The pending lists, in their order.
  var lists = [Int64](repeating: 0, count: QueueLayout.lists)
  /// The payloads that wait for a retry.
  var later: Int64 = 0

  /// An account holds much if each of its two lists has at least one part in this number.
  static let share: Int64 = 16

  var all: Int64 { lists.reduce(later, +) }

  /// Whether the account with these lists may hold much in lists, compared with everything that waits.
  func mayHoldMuch(_ hand: AccountShuffleShard) -> Bool {
    let all = all
    guard all > 0 else { return false }
    let anybodys = lists[0] + lists[QueueLayout.suspects]
    return min(lists[hand.first], lists[hand.second]) * Self.share >= all || anybodys * 2 >= all
  }
}
