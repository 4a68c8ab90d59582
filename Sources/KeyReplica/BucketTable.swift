// The mirror of one bucket: its records sorted by a part of their ids, with gaps between.
//
// That part is as good as random, so where a record is can be reckoned from it: its home, or a few slots further on. What a node pays
// for at a million keys is memory, and that a lookup's first look at a place goes to main memory; here it is one place. Nine tenths of
// the slots are taken, at most, so a key costs 44 to 47 bytes. An index of positions beside densely packed records was tried: it takes
// as much memory and a third more time, since it is a second place to look at. So is a Dictionary, with far more memory.
//
// An entry keeps 128 bits of the id (nobody can make a second key for the same 128 bits) and the record's digest, so that a
// change can take the old record out of the bucket's digest without the record's text.

/// One bucket's records.
struct BucketTable: Sendable {
  struct Entry: Sendable {
    /// The first 128 bits of the key's id.
    let id0: UInt64
    let id1: UInt64
    /// The account's number, and the state in the two lowest bits. Beside the id, since a lookup reads just these.
    fileprivate var accountAndState: UInt32
    fileprivate(set) var digest: Digest

    init(_ id0: UInt64, _ id1: UInt64, state: KeyState, account: AccountNames.Number, digest: Digest) {
      self.init(id0: id0, id1: id1, accountAndState: account.value << 2 | UInt32(state.rawValue), digest: digest)
    }

    private init(id0: UInt64, id1: UInt64, accountAndState: UInt32, digest: Digest) {
      self.id0 = id0
      self.id1 = id1
      self.accountAndState = accountAndState
      self.digest = digest
    }

    /// A slot that is nobody's: no state has this number.
    fileprivate static let gap = Entry(id0: 0, id1: 0, accountAndState: 3, digest: .empty)
    fileprivate var isGap: Bool { accountAndState == 3 }

    var state: KeyState {
      // Only ever written from a KeyState, whose raw values are 0, 1 and 2.
      KeyState(rawValue: UInt8(accountAndState & 3))!
    }
    var account: AccountNames.Number { AccountNames.Number(accountAndState >> 2) }
  }

  /// Entries in the order of `id1`, none before its home, and no gap between an entry and its home.
  private var slots: [Entry] = []
  /// How many of the slots are homes; behind them are some for entries that the last homes have no room for.
  private var homes = 0
  private(set) var count = 0
  private(set) var digest = Digest.empty
  /// How many of the records are active.
  private(set) var activeCount = 0

  init() {}

  /// An empty table with room for so many.
  init(capacity: Int) {
    if capacity > 0 { layOut([], capacity: capacity) }
  }

  /// A table of such entries.
  /// - Parameter sorted: By `id1`, as ``entries`` gives them.
  init(sorted: [Entry]) {
    layOut(sorted, capacity: sorted.count)
    count = sorted.count
    for entry in sorted {
      digest ^= entry.digest
      if entry.state == .active { activeCount += 1 }
    }
  }

  /// All records, sorted by `id1`.
  var entries: some Sequence<Entry> { slots.lazy.filter { !$0.isGap } }

  func find(_ id: KeyID) -> Entry? { find(id.words.0, id.words.1) }

  func find(_ id0: UInt64, _ id1: UInt64) -> Entry? {
    let (slot, isThere) = place(of: id0, id1)
    return isThere ? slots[slot] : nil
  }

  /// Writes a record, in place of the key's former one if there is one.
  mutating func put(_ id: KeyID, state: KeyState, account: AccountNames.Number, digest: Digest) {
    put(Entry(id.words.0, id.words.1, state: state, account: account, digest: digest))
  }

  mutating func put(_ entry: Entry) {
    let (slot, isThere) = place(of: entry.id0, entry.id1)
    if isThere {
      if slots[slot].state == .active { activeCount -= 1 }
      digest ^= slots[slot].digest
      slots[slot] = entry
    } else {
      insert(entry, at: slot)
      count += 1
    }
    if entry.state == .active { activeCount += 1 }
    digest ^= entry.digest
  }

  /// Where the key's entry is, or where it would have to be.
  private func place(of id0: UInt64, _ id1: UInt64) -> (slot: Int, isThere: Bool) {
    var slot = home(of: id1)
    while slot < slots.count, slots[slot].id1 <= id1, !slots[slot].isGap {
      if slots[slot].id1 == id1, slots[slot].id0 == id0 { return (slot, true) }
      slot += 1
    }
    return (slot, false)
  }

  private func home(of id1: UInt64) -> Int { Int(truncatingIfNeeded: id1.multipliedFullWidth(by: UInt64(homes)).high) }

  /// Moves what stands from there to the next gap up by one.
  private mutating func insert(_ entry: Entry, at slot: Int) {
    var gap = slot
    while gap < slots.count, !slots[gap].isGap { gap += 1 }
    guard gap < slots.count, count < Self.capacity(ofHomes: homes) else {
      // By a twentieth instead of doubling: at millions of keys the slack is memory that buys nothing.
      layOut(Array(entries), capacity: count + max(8, count / 20))
      insert(entry, at: place(of: entry.id0, entry.id1).slot)
      return
    }
    while gap > slot {
      slots[gap] = slots[gap - 1]
      gap -= 1
    }
    slots[slot] = entry
  }

  /// The more are taken, the further from their homes they are: here four slots on average.
  private static func capacity(ofHomes homes: Int) -> Int { homes - homes / 10 }

  private mutating func layOut(_ sorted: [Entry], capacity: Int) {
    homes = capacity + capacity / 9 + 1
    var end = 0
    for entry in sorted { end = max(end, home(of: entry.id1)) + 1 }
    slots = Array(repeating: .gap, count: max(end, homes) + 8)
    var slot = 0
    for entry in sorted {
      slot = max(slot, home(of: entry.id1))
      slots[slot] = entry
      slot += 1
    }
  }
}
