// Which list of a shard an account's payload goes to: pure, and the same in every node.
//
// While list 0 is short, everybody's goes there: one list, one LPUSH, and workers take payloads in the order in which they came. A
// list 0 that has grown long means that somebody sends more than is being worked off, and from then on each account keeps to its
// hand: two of the sixteen other lists, by a hash of its name. An account that floods fills its two; of the others, about one in
// 120 has the same hand, one in four shares one list with it and takes the other, and three in four share none (shuffle sharding).
//
// An account with something in both of its lists keeps to them, also when list 0 is short again. Otherwise a flood would fill
// list 0 up again and again, and everybody who has no backlog of his own would wait behind a thousand payloads of it.
//
// Rejected: one list for each account, since nobody can look at as many lists as there are accounts; and a list by the hash alone,
// which puts one account in sixteen right behind the flood.

/// The two lists that an account has once list 0 is long.
struct AccountHand: Equatable {
  /// From 1 to ``QueueLayout/lists`` - 1, and never the same.
  let first: Int
  let second: Int

  /// So many entries in list 0, as last heard, are still short.
  static let shortList: Int64 = 1_000

  init(account: String) {
    var account = account
    let hash = account.withUTF8 { Self.hash($0) }
    let others = UInt64(QueueLayout.lists - 1)
    let first = hash % others
    // One of the others that isn't the first, each as likely.
    let step = 1 + (hash >> 32) % (others - 1)
    self.first = 1 + Int(first)
    second = 1 + Int((first + step) % others)
  }

  /// The list for an account's next payload.
  /// - Parameter lengths: Of all lists, as last heard.
  static func list(of account: String, lengths: [Int64]) -> Int {
    let isShort = lengths[0] < shortList
    // The common case, without hashing: nothing waits but in list 0.
    if isShort, !lengths.dropFirst().contains(where: { $0 > 0 }) { return 0 }
    let hand = AccountHand(account: account)
    let shorter = lengths[hand.first] <= lengths[hand.second] ? hand.first : hand.second
    return isShort && lengths[shorter] == 0 ? 0 : shorter
  }

  /// FNV-1a with its bits mixed once more: Swift's own hash is another in each process, and nodes have to agree.
  private static func hash(_ bytes: UnsafeBufferPointer<UInt8>) -> UInt64 {
    var hash: UInt64 = 0xcbf2_9ce4_8422_2325
    for byte in bytes { hash = (hash ^ UInt64(byte)) &* 0x100_0000_01b3 }
    hash = (hash ^ (hash >> 33)) &* 0xff51_afd7_ed55_8ccd
    hash = (hash ^ (hash >> 33)) &* 0xc4ce_b9fe_1a85_ec53
    return hash ^ (hash >> 33)
  }
}
