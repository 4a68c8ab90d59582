// The mirror of one bucket: records packed densely, and an open-addressing index of their positions beside them.
//
// Why not a Dictionary: at a million keys memory per key and cache misses per lookup are what a node pays for. An entry is 40
// bytes; the index adds 5 to 6. An entry keeps 128 bits of the id (nobody can make a second key for the same 128 bits)
// and the record's digest, so that a change can take the old record out of the bucket's digest without the record's text.
//
// A slot of the index has eight bits of the id beside the position, so that a lookup goes to the one entry that it is about: a key
// that isn't there costs a look at the index only. A table without an index, its entries in the slots, was tried: for the same
// memory it must be so full that a lookup goes through more of it than both together here.

/// One bucket's records.
struct BucketTable: Sendable {
  struct Entry: Sendable {
    /// The first 128 bits of the key's id.
    let id0: UInt64
    let id1: UInt64
    /// The account's number, and the state in the two lowest bits. Beside the id, since a lookup reads just these.
    fileprivate var accountAndState: UInt32
    fileprivate(set) var digest: Digest

    var state: KeyState {
      // Only ever written from a KeyState, whose raw values are 0, 1 and 2.
      KeyState(rawValue: UInt8(accountAndState & 3))!
    }
    var account: AccountNames.Number { AccountNames.Number(accountAndState >> 2) }
  }

  private(set) var entries: [Entry] = []
  private(set) var digest = Digest.empty
  /// How many of the records are active.
  private(set) var activeCount = 0
  private var index = PositionIndex()

  var count: Int { entries.count }

  init() {}

  /// An empty table with room for so many.
  init(capacity: Int) {
    entries.reserveCapacity(capacity)
    index = PositionIndex(capacity: capacity)
  }

  func find(_ id: KeyID) -> Entry? { find(id.words.0, id.words.1) }

  func find(_ id0: UInt64, _ id1: UInt64) -> Entry? {
    position(of: id0, id1).map { entries[$0] }
  }

  /// Writes a record, in place of the key's former one if there is one.
  mutating func put(_ id: KeyID, state: KeyState, account: AccountNames.Number, digest new: Digest) {
    put(id.words.0, id.words.1, state: state, account: account, digest: new)
  }

  /// The same for a key of which only the first 128 bits of the id are known.
  mutating func put(_ id0: UInt64, _ id1: UInt64, state: KeyState, account: AccountNames.Number, digest new: Digest) {
    let accountAndState = account.value << 2 | UInt32(state.rawValue)
    if state == .active { activeCount += 1 }
    if let position = position(of: id0, id1) {
      if entries[position].state == .active { activeCount -= 1 }
      digest ^= entries[position].digest
      entries[position].digest = new
      entries[position].accountAndState = accountAndState
    } else {
      if entries.count == index.capacity { grow() }
      index.insert(entries.count, for: id1)
      entries.append(Entry(id0: id0, id1: id1, accountAndState: accountAndState, digest: new))
    }
    digest ^= new
  }

  private func position(of id0: UInt64, _ id1: UInt64) -> Int? {
    index.first(for: id1) { entries[$0].id1 == id1 && entries[$0].id0 == id0 }
  }

  /// By a twentieth instead of doubling: at millions of keys the slack is memory that buys nothing.
  private mutating func grow() {
    let capacity = entries.count + max(8, entries.count / 20)
    entries.reserveCapacity(capacity)
    index = PositionIndex(capacity: capacity)
    for position in entries.indices { index.insert(position, for: entries[position].id1) }
  }
}

/// Where the entries are, by the second word of their ids, which is as good as random.
private struct PositionIndex: Sendable {
  /// How many positions there is room for.
  let capacity: Int
  /// The position plus one, and the word's lowest bits below it; 0 where free. Never more than three quarters are taken.
  private var slots: [UInt32]

  private static let tagBits: UInt32 = 8

  init() {
    capacity = 0
    slots = []
  }

  init(capacity: Int) {
    // At 40 bytes an entry memory would have ended long before, in one bucket of very many.
    precondition(capacity < 1 << (32 - Self.tagBits), "\(capacity) records in one bucket")
    self.capacity = capacity
    slots = capacity == 0 ? [] : Array(repeating: 0, count: capacity + capacity / 3 + 1)
  }

  /// The first position for which the condition holds, of those that may be the word's.
  func first(for word: UInt64, where isWanted: (Int) -> Bool) -> Int? {
    guard capacity > 0 else { return nil }
    let tag = Self.tag(of: word)
    var at = home(of: word)
    while slots[at] != 0 {
      if slots[at] & Self.tagMask == tag {
        let position = Int(slots[at] >> Self.tagBits) - 1
        if isWanted(position) { return position }
      }
      at = next(after: at)
    }
    return nil
  }

  mutating func insert(_ position: Int, for word: UInt64) {
    var at = home(of: word)
    while slots[at] != 0 { at = next(after: at) }
    slots[at] = UInt32(position + 1) << Self.tagBits | Self.tag(of: word)
  }

  private static let tagMask: UInt32 = (1 << tagBits) - 1

  private static func tag(of word: UInt64) -> UInt32 { UInt32(truncatingIfNeeded: word) & tagMask }

  /// By the word's highest bits, as a share of the slots: their number needn't be a power of two, which would be up to twice as many.
  private func home(of word: UInt64) -> Int {
    Int(truncatingIfNeeded: word.multipliedFullWidth(by: UInt64(slots.count)).high)
  }

  private func next(after slot: Int) -> Int { slot + 1 == slots.count ? 0 : slot + 1 }
}
