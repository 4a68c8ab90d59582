// The mirror of one bucket: its records sorted by a part of their IDs, with gaps between.
//
// That part is uniformly distributed, so a record's slot can be calculated from it: its home, or a few slots after it.
// With a million keys the costs are memory, and each access to main memory in a lookup. Here a lookup needs one such
// access. At most nine tenths of the slots are used, so a key costs 44 to 47 bytes. Tried: an index of positions beside
// densely packed records. It takes as much memory and a third more time, because it needs a second access. So does a
// Dictionary, with far more memory.
//
// An entry has 128 bits of the ID: making a second key with the same 128 bits is infeasible. The records' digests are
// in a separate array, in the same order. With a record's digest, a change can update the bucket's digest without the
// old record's text. Lookups don't need the digests, so more of the entries fit into the processor's caches.

/// One bucket's records.
struct BucketTable: Sendable {
  /// A key's record. 24 bytes. The expiry uses the four bytes that the alignment would leave unused.
  struct Entry: Sendable {
    /// The first 128 bits of the key's id.
    let id0: UInt64
    let id1: UInt64
    /// The account's number, and the state in the two lowest bits.
    let accountAndState: UInt32
    let expiry: KeyExpiry

    init(
      _ id0: UInt64, _ id1: UInt64, state: KeyState, account: AccountNames.Number, expiry: KeyExpiry = .none
    ) {
      self.init(id0: id0, id1: id1, accountAndState: account.value << 2 | UInt32(state.rawValue), expiry: expiry)
    }

    private init(id0: UInt64, id1: UInt64, accountAndState: UInt32, expiry: KeyExpiry) {
      self.id0 = id0
      self.id1 = id1
      self.accountAndState = accountAndState
      self.expiry = expiry
    }

    /// An empty slot: no state has this number.
    fileprivate static let gap = Entry(id0: 0, id1: 0, accountAndState: 3, expiry: .none)
    fileprivate var isGap: Bool { accountAndState == 3 }

    var state: KeyState {
      // Every entry except a gap is made from a KeyState, whose raw values are 0, 1 and 2.
      KeyState(rawValue: UInt8(accountAndState & 3))!
    }
    var account: AccountNames.Number { AccountNames.Number(accountAndState >> 2) }
  }

  /// Sorted by `id1`. No entry is before its home, and no gap is between an entry and its home.
  private var slots: [Entry] = []
  /// The digest of the record in each slot.
  private var digests: [Digest] = []
  /// How many of the slots are homes. After them are some slots for entries that don't fit into the last homes.
  private var homes = 0
  private(set) var count = 0
  private(set) var digest = Digest.empty
  /// How many of the records are active.
  private(set) var activeCount = 0

  init() {}

  /// An empty table with room for this number of records.
  init(capacity: Int) {
    if capacity > 0 { layOut([], capacity: capacity) }
  }

  /// A table of these entries.
  /// - Parameter sorted: By `id1`, in the order of ``records``.
  init(sorted: some Collection<(entry: Entry, digest: Digest)>) {
    layOut(sorted, capacity: sorted.count)
    count = sorted.count
    for (entry, recordDigest) in sorted {
      digest ^= recordDigest
      if entry.state == .active { activeCount += 1 }
    }
  }

  /// All entries, sorted by `id1`.
  var entries: some Sequence<Entry> { slots.lazy.filter { !$0.isGap } }

  /// All entries with their records' digests, sorted by `id1`.
  var records: some Sequence<(entry: Entry, digest: Digest)> {
    slots.indices.lazy.filter { !slots[$0].isGap }.map { (slots[$0], digests[$0]) }
  }

  func find(_ id: KeyID) -> Entry? { find(id.words.0, id.words.1) }

  func find(_ id0: UInt64, _ id1: UInt64) -> Entry? {
    let (slot, isThere) = place(of: id0, id1)
    return isThere ? slots[slot] : nil
  }

  /// Writes a record, in place of the key's old one if there is one.
  mutating func put(
    _ id: KeyID, state: KeyState, account: AccountNames.Number, expiry: KeyExpiry = .none, digest new: Digest
  ) {
    put(Entry(id.words.0, id.words.1, state: state, account: account, expiry: expiry), digest: new)
  }

  /// The same for an existing entry.
  mutating func put(_ entry: Entry, digest new: Digest) {
    let (slot, isThere) = place(of: entry.id0, entry.id1)
    if isThere {
      if slots[slot].state == .active { activeCount -= 1 }
      digest ^= digests[slot]
      slots[slot] = entry
      digests[slot] = new
    } else {
      insert(entry, new, at: slot)
      count += 1
    }
    if entry.state == .active { activeCount += 1 }
    digest ^= new
  }

  /// Removes a key's record. Later entries that aren't at their homes move down by one slot, so that no gap is before
  /// them.
  mutating func remove(_ id: KeyID) { remove(id.words.0, id.words.1) }

  mutating func remove(_ id0: UInt64, _ id1: UInt64) {
    var (slot, isThere) = place(of: id0, id1)
    guard isThere else { return }
    count -= 1
    digest ^= digests[slot]
    if slots[slot].state == .active { activeCount -= 1 }
    while slot + 1 < slots.count, !slots[slot + 1].isGap, home(of: slots[slot + 1].id1) <= slot {
      slots[slot] = slots[slot + 1]
      digests[slot] = digests[slot + 1]
      slot += 1
    }
    slots[slot] = .gap
    digests[slot] = .empty
  }

  /// The slot of the key's entry, or the slot for a new entry.
  private func place(of id0: UInt64, _ id1: UInt64) -> (slot: Int, isThere: Bool) {
    var slot = home(of: id1)
    while slot < slots.count, slots[slot].id1 <= id1, !slots[slot].isGap {
      if slots[slot].id1 == id1, slots[slot].id0 == id0 { return (slot, true) }
      slot += 1
    }
    return (slot, false)
  }

  private func home(of id1: UInt64) -> Int { Int(truncatingIfNeeded: id1.multipliedFullWidth(by: UInt64(homes)).high) }

  /// Inserts an entry. The entries from this slot to the next gap move up by one.
  private mutating func insert(_ entry: Entry, _ digest: Digest, at slot: Int) {
    var gap = slot
    while gap < slots.count, !slots[gap].isGap { gap += 1 }
    guard gap < slots.count, count < Self.capacity(ofHomes: homes) else {
      // Grows by a twentieth instead of doubling: with millions of keys, unused slots would waste memory.
      layOut(Array(records), capacity: count + max(8, count / 20))
      insert(entry, digest, at: place(of: entry.id0, entry.id1).slot)
      return
    }
    while gap > slot {
      slots[gap] = slots[gap - 1]
      digests[gap] = digests[gap - 1]
      gap -= 1
    }
    slots[slot] = entry
    digests[slot] = digest
  }

  /// The maximum number of entries. With more, entries would be further from their homes: now four slots on average.
  private static func capacity(ofHomes homes: Int) -> Int { homes - homes / 10 }

  private mutating func layOut(_ sorted: some Collection<(entry: Entry, digest: Digest)>, capacity: Int) {
    homes = capacity + capacity / 9 + 1
    var end = 0
    for (entry, _) in sorted { end = max(end, home(of: entry.id1)) + 1 }
    let size = max(end, homes) + 8
    slots = Array(repeating: .gap, count: size)
    digests = Array(repeating: .empty, count: size)
    var slot = 0
    for (entry, digest) in sorted {
      slot = max(slot, home(of: entry.id1))
      slots[slot] = entry
      digests[slot] = digest
      slot += 1
    }
  }
}
