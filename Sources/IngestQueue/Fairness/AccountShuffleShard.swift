// Which list of a shard an account's payload goes to: pure, and the same in every node.
//
// While list 0 is short, everybody's goes there: one list, one LPUSH, and workers take payloads in the order in which they came. A
// list 0 that has grown long means that somebody sends more than is being worked off, and from then on each account keeps to its
// hand: two of the sixteen other lists, by a hash of its name. An account that floods fills its two; of the others, about one in
// 120 has the same hand, one in four shares one list with it and takes the other, and three in four share none (shuffle sharding).
//
// Who sends much and has something in both of its lists keeps to them, also when list 0 is short again. Otherwise a flood would
// fill list 0 up again and again. And who doesn't send much goes to list 0 whenever it is short, so that even those whose lists are
// a flood's aren't behind it for long.
//
// Large payloads are in their accounts' own lists whatever list 0 has. A thousand of them are a short list and take
// minutes, and then everybody's small ones are among them.
//
// Rejected: one list for each account, since nobody can look at as many lists as there are accounts; and a list by the hash alone,
// which puts one account in sixteen right behind the flood.

/// The two lists that an account has once list 0 is long.
struct AccountShuffleShard: Equatable {
  /// From 1 to ``QueueLayout/ownLists``, and never the same.
  let first: Int
  let second: Int

  /// So many entries in list 0, as last heard, are still short.
  static let shortList: Int64 = 1_000
  /// A payload of more bytes than this never goes to list 0.
  static let largePayload = 64 << 10

  init(account: String) { self.init(hash: Self.hash(of: account)) }

  init(hash: UInt64) {
    let others = UInt64(QueueLayout.ownLists)
    let first = hash % others
    // One of the others that isn't the first, each as likely.
    let step = 1 + (hash >> 32) % (others - 1)
    self.first = 1 + Int(first)
    second = 1 + Int((first + step) % others)
  }

  /// The list for an account's next payload.
  /// - Parameters:
  ///   - hash: The account's.
  ///   - sendsMuch: Whether it has been sending much lately: ``HeavySenders``.
  ///   - isLarge: Whether the payload has more than ``largePayload`` bytes.
  ///   - lengths: Of all lists, as last heard.
  ///   - draw: A random bit for an account that sends many bytes; nil for others. Where its two lists are about as
  ///     long, it decides. With the shorter list an account could choose by turns which payloads go where, put its
  ///     large ones into one list, and seem to hold few bytes: ``ListAmounts``.
  static func list(of hash: UInt64, sendsMuch: Bool, isLarge: Bool, lengths: [Int64], draw: Bool? = nil) -> Int {
    let isShort = lengths[0] < shortList
    if isShort, !sendsMuch, !isLarge { return 0 }
    let hand = AccountShuffleShard(hash: hash)
    let (first, second) = (lengths[hand.first], lengths[hand.second])
    let shorter = first <= second ? hand.first : hand.second
    if isShort, min(first, second) == 0, !isLarge { return 0 }
    if let draw, max(first, second) <= 2 * min(first, second) { return draw ? hand.first : hand.second }
    return shorter
  }

  static func hash(of account: String) -> UInt64 {
    var account = account
    return account.withUTF8 { hash($0) }
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
