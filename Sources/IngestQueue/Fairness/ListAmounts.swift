// Who holds much of a shard's queue, as far as its lists tell: pure. Nobody counts what each account has in the queue,
// but an account has two lists, and they hold at least what it has there.
//
// Of the two lists the smaller one decides. Another account's flood may share one of them with this account. Both are
// shared with a given other account by one account in 120. A flood fills both of its lists, because its payloads are
// spread over them.
//
// List 0, the suspects and what is tried again later can be anybody's. Where most of the queue is there, nothing is
// known about its holders, and every account may hold much.

/// What waits in a shard, list by list: in entries or in bytes.
struct ListAmounts: Equatable {
  /// Of the pending lists, in their order.
  var lists = [Int64](repeating: 0, count: QueueLayout.lists)
  /// Of what is tried again later.
  var later: Int64 = 0

  /// An account holds much if each of its two lists has at least one part in so many.
  static let share: Int64 = 16

  var all: Int64 { lists.reduce(later, +) }

  /// Whether the account with these lists may hold much. True also where nothing is known.
  func mayHoldMuch(_ hand: AccountShuffleShard) -> Bool {
    let all = all
    let anybodys = lists[0] + lists[QueueLayout.suspects] + later
    return min(lists[hand.first], lists[hand.second]) * Self.share >= all || anybodys * 2 >= all
  }
}
