// Chooses the next payload of the spool: pure, no file and no clock. Accounts take turns, so that a few payloads of one
// account don't wait behind tens of thousands of another's. Within an account the oldest payload is first.
//
// Turns are by cost and not by count (deficit round robin): each account in the ring may use a quantum of bytes per
// round, and keeps the unused part for a payload that is larger. Otherwise an account with large payloads would take
// most of the time.
//
// An account is identified by a hash of its name, and a payload takes 16 bytes: the linked lists of all accounts share
// one array. So a million payloads take 16 MiB, and each account with payloads takes less than 100 bytes more. Two
// accounts with the same hash share a turn, which harms neither. Rejected: a column and an index in the file, whose
// pages would have to be journaled for each payload that is deleted on a full disk.

internal import DequeModule

/// The payloads of a spool by account, up to the row that was read last.
struct SpoolTurns {
  /// A payload in the file.
  struct Item: Equatable, Sendable {
    /// The number of its row.
    let number: Int64
    let bytes: Int
    /// A hash of its account's name.
    let account: Int
  }

  private struct Slot {
    var number: Int64
    var bytes: UInt32
    /// The index of its account's next payload, or of the next free slot.
    var next: UInt32
  }

  private struct Line {
    var first: UInt32
    var last: UInt32
    /// The bytes that the account may still use.
    var credit: Int
    /// Whether the account waits for ``SpoolTurns/wake()`` and isn't in the ring.
    var isResting = false
  }

  private static let none = UInt32.max
  /// The bytes that an account may use per round.
  private static let quantum = 16 << 10
  /// The minimum cost of a payload: below that, the bytes don't determine the time.
  private static let leastCost = 1 << 10

  /// Payloads of more bytes than this are handed out alone: see ``SpoolDrain``.
  private let largestTogether: Int
  private var slots: [Slot] = []
  private var free = SpoolTurns.none
  private var lines: [Int: Line] = [:]
  /// Accounts that have payloads and don't rest, the next one first.
  private var ring: Deque<Int> = []
  private(set) var count = 0

  init(largestTogether: Int) { self.largestTogether = largestTogether }

  /// Whether any account with payloads is resting.
  var isAnyResting: Bool { lines.count > ring.count }

  // MARK: Adding

  /// Adds a payload behind all others of its account.
  mutating func append(_ item: Item) {
    let slot = take(item)
    if var line = lines[item.account] {
      slots[Int(line.last)].next = slot
      line.last = slot
      lines[item.account] = line
    } else {
      begin(item.account, slot)
    }
  }

  /// Puts payloads back in front of all others of their accounts.
  /// - Parameters:
  ///   - items: In the order in which they were handed out.
  ///   - rests: Whether no payload of their accounts is handed out before ``wake()``.
  mutating func putBack(_ items: some BidirectionalCollection<Item>, rests: Bool = false) {
    for item in items.reversed() {
      let slot = take(item)
      if var line = lines[item.account] {
        slots[Int(slot)].next = line.first
        line.first = slot
        line.credit += Self.cost(item.bytes)
        lines[item.account] = line
      } else {
        begin(item.account, slot)
      }
    }
    guard rests else { return }
    let resting = Set(items.map(\.account))
    for account in resting { lines[account]?.isResting = true }
    ring.removeAll { resting.contains($0) }
  }

  /// Gives turns to resting accounts again.
  mutating func wake() {
    guard isAnyResting else { return }
    for account in lines.keys where lines[account]?.isResting == true {
      lines[account]?.isResting = false
      ring.append(account)
    }
  }

  private mutating func begin(_ account: Int, _ slot: UInt32) {
    lines[account] = Line(first: slot, last: slot, credit: Self.quantum)
    ring.append(account)
  }

  private mutating func take(_ item: Item) -> UInt32 {
    count += 1
    let slot = Slot(number: item.number, bytes: UInt32(clamping: item.bytes), next: Self.none)
    guard free != Self.none else {
      slots.append(slot)
      return UInt32(slots.count - 1)
    }
    let index = free
    free = slots[Int(index)].next
    slots[Int(index)] = slot
    return index
  }

  // MARK: Dealing

  /// Takes the next payloads by turns. A large one is taken alone.
  /// - Parameters:
  ///   - entries: Maximum number.
  ///   - bytes: Maximum bytes; a single payload may be larger.
  mutating func deal(entries: Int, bytes: Int) -> [Item] {
    var dealt: [Item] = []
    var size = 0
    while dealt.count < entries, let account = ring.first, var line = lines[account] {
      let slot = slots[Int(line.first)]
      let cost = Self.cost(Int(slot.bytes))
      guard line.credit >= cost else {
        line.credit += Self.quantum
        lines[account] = line
        ring.append(ring.removeFirst())
        continue
      }
      let isLarge = Int(slot.bytes) > largestTogether
      size += Int(slot.bytes)
      if !dealt.isEmpty, isLarge || size > bytes { break }
      dealt.append(Item(number: slot.number, bytes: Int(slot.bytes), account: account))
      line.credit -= cost
      release(line.first, line, of: account, next: slot.next)
      if isLarge { break }
    }
    if count == 0 {
      // The memory of the largest backlog isn't kept for ever.
      slots = []
      free = Self.none
    }
    return dealt
  }

  private mutating func release(_ slot: UInt32, _ line: Line, of account: Int, next: UInt32) {
    slots[Int(slot)].next = free
    free = slot
    count -= 1
    if next == Self.none {
      lines[account] = nil
      ring.removeFirst()
    } else {
      var line = line
      line.first = next
      lines[account] = line
    }
  }

  private static func cost(_ bytes: Int) -> Int { max(bytes, leastCost) }
}
