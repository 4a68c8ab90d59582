// Chooses the list of a shard for an account's payload: pure, and the same in every node.
//
// While list 0 is short, all payloads go there: one list, one LPUSH, and workers take payloads in the order of their
// arrival. If list 0 is long, clients send more than workers store. From then on each account uses two of the sixteen
// other lists, by a hash of its name. An account that floods the queue fills its two lists. Of the other accounts,
// about one in 120 has the same two lists, one in four shares one of them and uses its other list, and three in four
// share none (shuffle sharding).
//
// An account that sends much and has payloads in both of its lists keeps using them, even when list 0 is short again.
// Otherwise a flood would fill list 0 again and again. An account that doesn't send much uses list 0 whenever it is
// short. So even accounts with the same two lists as a flood don't wait behind it for long.
//
// Large payloads always go to their accounts' own lists, even if list 0 is short. A thousand large payloads are a short
// list, but take minutes, and all accounts' small payloads would wait between them.
//
// Rejected: one list for each account, because checking that many lists is too slow; and one list by the hash alone,
// which puts one account in sixteen directly behind a flood.

/// The two lists that an account has once list 0 is long.
struct AccountShuffleShard: Equatable {
  /// From 1 to ``QueueLayout/ownLists``. The two are never equal.
  let first: Int
  let second: Int

  /// List 0 is short up to this number of entries, by the last reading.
  static let shortList: Int64 = 1_000
  /// A payload of more bytes than this never goes to list 0.
  static let largePayload = 64 << 10

  init(account: String) { self.init(hash: Self.hash(of: account)) }

  init(hash: UInt64) {
    let others = UInt64(QueueLayout.ownLists)
    let first = hash % others
    // Any other list, with equal probability.
    let step = 1 + (hash >> 32) % (others - 1)
    self.first = 1 + Int(first)
    second = 1 + Int((first + step) % others)
  }

  /// The list for an account's next payload.
  /// - Parameters:
  ///   - hash: The account's hash.
  ///   - sendsMuch: Whether the account has been sending much lately: ``HeavySenders``.
  ///   - isLarge: Whether the payload has more than ``largePayload`` bytes.
  ///   - lengths: The lengths of all lists, by the last reading.
  ///   - draw: A random bit for an account that sends many bytes; nil for others. It decides if the account's two lists
  ///     have about the same length. If the shorter list always decided, an account could control which payloads go
  ///     where, put its large ones into one list, and seem to hold few bytes: ``ListAmounts``.
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

  /// FNV-1a with its bits mixed once more: Swift's own hash differs in each process, and nodes have to agree.
  private static func hash(_ bytes: UnsafeBufferPointer<UInt8>) -> UInt64 {
    var hash: UInt64 = 0xcbf2_9ce4_8422_2325
    for byte in bytes { hash = (hash ^ UInt64(byte)) &* 0x100_0000_01b3 }
    hash = (hash ^ (hash >> 33)) &* 0xff51_afd7_ed55_8ccd
    hash = (hash ^ (hash >> 33)) &* 0xc4ce_b9fe_1a85_ec53
    return hash ^ (hash >> 33)
  }
}
