// The mirror of one bucket: records packed densely, and an open-addressing index of their positions beside them.
//
// Why not a Dictionary: at a million keys memory per key and cache misses per lookup are what a node pays for. An entry is 40
// bytes; the index adds 2 to 8 more. An entry keeps 128 bits of the id (nobody can make a second key for the same 128 bits)
// and the record's digest, so that a change can take the old record out of the bucket's digest without the record's text.

/// One bucket's records.
struct BucketTable: Sendable {
  struct Entry: Sendable {
    /// The first 128 bits of the key's id.
    let id0: UInt64
    let id1: UInt64
    fileprivate(set) var digest: Digest
    /// The account's number, and the state in the two lowest bits.
    fileprivate var accountAndState: UInt32

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
  /// Positions in `entries` plus one, 0 where free; a power of two long, at most half full.
  private var index: [UInt32] = []

  var count: Int { entries.count }

  init() {}

  /// An empty table with room for so many.
  init(capacity: Int) {
    entries.reserveCapacity(capacity)
    if capacity > 0 { resizeIndex(for: capacity) }
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
      if (entries.count + 1) * 2 > index.count { resizeIndex(for: entries.count + 1) }
      // By an eighth instead of doubling: at millions of keys the slack is memory that buys nothing.
      if entries.count == entries.capacity { entries.reserveCapacity(entries.count + max(8, entries.count / 8)) }
      entries.append(Entry(id0: id0, id1: id1, digest: new, accountAndState: accountAndState))
      insertIntoIndex(entries.count - 1)
    }
    digest ^= new
  }

  /// Takes a key's record out.
  mutating func remove(_ id: KeyID) {
    guard let slot = slot(of: id.words.0, id.words.1) else { return }
    let position = Int(index[slot]) - 1
    digest ^= entries[position].digest
    if entries[position].state == .active { activeCount -= 1 }
    free(slot)
    // The last one takes its place, so that there is no gap.
    let last = entries[entries.count - 1]
    if position < entries.count - 1, let lastSlot = self.slot(of: last.id0, last.id1) {
      entries[position] = last
      index[lastSlot] = UInt32(position + 1)
    }
    entries.removeLast()
  }

  /// Frees a slot of the index. What was put behind it since it was taken moves up, or it wouldn't be found any more.
  private mutating func free(_ slot: Int) {
    let mask = index.count - 1
    var free = slot
    var next = (slot + 1) & mask
    while index[next] != 0 {
      let wanted = Int(truncatingIfNeeded: entries[Int(index[next]) - 1].id1) & mask
      // Unless it is where it wants to be, or between there and the free one.
      if (next - wanted) & mask >= (next - free) & mask {
        index[free] = index[next]
        free = next
      }
      next = (next + 1) & mask
    }
    index[free] = 0
  }

  private func position(of id0: UInt64, _ id1: UInt64) -> Int? {
    slot(of: id0, id1).map { Int(index[$0]) - 1 }
  }

  private func slot(of id0: UInt64, _ id1: UInt64) -> Int? {
    guard !index.isEmpty else { return nil }
    var slot = Int(truncatingIfNeeded: id1) & (index.count - 1)
    while index[slot] != 0 {
      let position = Int(index[slot]) - 1
      if entries[position].id0 == id0, entries[position].id1 == id1 { return slot }
      slot = (slot + 1) & (index.count - 1)
    }
    return nil
  }

  private mutating func insertIntoIndex(_ position: Int) {
    var slot = Int(truncatingIfNeeded: entries[position].id1) & (index.count - 1)
    while index[slot] != 0 { slot = (slot + 1) & (index.count - 1) }
    index[slot] = UInt32(position + 1)
  }

  private mutating func resizeIndex(for count: Int) {
    var size = 16
    while size < count * 2 { size *= 2 }
    guard size > index.count else { return }
    index = [UInt32](repeating: 0, count: size)
    for position in entries.indices { insertIntoIndex(position) }
  }
}
