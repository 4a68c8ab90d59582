// Connections that have shown an active key, by account and by network, and which of a holder's has waited longest for
// its client. Such a connection is closed for a new one only where its holder has more than its share.
//
// Whether a connection is idle changes twice with each request, and taking a lock each time would cost a push more than
// it costs to answer some. So each connection notes in a word of its own from when on it may be closed
// (`ConnectionUse`), and the limiter reads that word only when a place is needed. A holder's connections are filed in a
// heap by what their words said then. Words nearly always grow, so a word that still says the same is the smallest
// of all, and one that doesn't is filed again: each such move is paid for by a request that came in between.
//
// Rejected: to ask the connections' event loops which of them are idle, since a new connection would have to wait for
// their answers; and a list in the order of use, since it would need the lock for each request.

internal import ClientAddress
internal import HeapModule
internal import NIOCore
internal import Synchronization

/// From when on one connection may be closed for another. Written by its event loop, read by whoever needs a place.
final class ConnectionUse: Sendable {
  private let nanoseconds = Atomic<UInt64>(.max)

  /// `.distantFuture` while the node has a request of it in hand.
  var mayEndFrom: NIODeadline {
    get { .uptimeNanoseconds(nanoseconds.load(ordering: .relaxed)) }
    set { nanoseconds.store(newValue.uptimeNanoseconds, ordering: .relaxed) }
  }
}

/// Under the limiter's lock.
struct ProvenConnections: ~Copyable {
  enum Holder: Hashable {
    case account(String)
    case network(IPAddress)
  }

  fileprivate struct Entry: Comparable {
    let from: NIODeadline
    let id: UInt64

    static func < (left: Entry, right: Entry) -> Bool { (left.from, left.id) < (right.from, right.id) }
  }

  fileprivate struct Held {
    /// When each is filed, and its word.
    var connections: [UInt64: (from: NIODeadline, use: ConnectionUse)] = [:]
    /// Those, among entries that are out of date: their time is another one.
    var order = Heap<Entry>()
  }

  /// Connections that a holder may have and lose none for others.
  let share: Int
  private var holders: [Holder: Held] = [:]
  /// Holders with more than their share: with shares of an eighth, seven accounts and seven networks at most.
  private var large: [Holder] = []

  /// A connection that is in use when it is looked at is left alone for so long.
  private static let pause = TimeAmount.seconds(1)
  /// Entries that are looked at for one place. So many are in use that waited longest only where nearly all are.
  private static let looks = 128

  init(share: Int) { self.share = share }

  mutating func insert(_ id: UInt64, _ use: ConnectionUse, of holder: Holder, at now: NIODeadline) {
    holders[holder, default: Held()].file(id, use, at: min(use.mayEndFrom, now))
    if count(of: holder) == share + 1 { large.append(holder) }
  }

  mutating func remove(_ id: UInt64, of holder: Holder) {
    guard holders[holder]?.remove(id) ?? false else { return }
    let count = count(of: holder)
    if count == share { large.removeAll { $0 == holder } }
    if count == 0 { holders[holder] = nil }
  }

  func count(of holder: Holder) -> Int { holders[holder]?.connections.count ?? 0 }

  /// The connection to be closed, of those who have more than their share: of the one who has most, and may lose any.
  /// - Parameter excess: Connections beyond its share that a holder must have.
  mutating func oldestOfLarge(excess: Int, at now: NIODeadline) -> UInt64? {
    let candidates = large.map { (holder: $0, count: count(of: $0)) }.filter { $0.count - share >= excess }
    for (holder, _) in candidates.sorted(by: { $0.count > $1.count }) {
      if let id = oldest(of: holder, at: now) { return id }
    }
    return nil
  }

  /// One of an account's that has more than so many, whether it is in use or not.
  func anyOfAccount(above most: Int) -> UInt64? {
    for holder in large where count(of: holder) > most {
      if case .account = holder { return holders[holder]?.connections.keys.first }
    }
    return nil
  }

  /// The connection of a holder that has waited for its client longest; nil where all are in use.
  mutating func oldest(of holder: Holder, at now: NIODeadline) -> UInt64? {
    holders[holder]?.oldest(at: now, looks: Self.looks, pause: Self.pause)
  }
}

extension ProvenConnections.Held {
  fileprivate mutating func file(_ id: UInt64, _ use: ConnectionUse, at from: NIODeadline) {
    connections[id] = (from, use)
    order.insert(.init(from: from, id: id))
    guard order.count > 2 * connections.count + 8 else { return }
    let current = order.unordered.filter { connections[$0.id]?.from == $0.from }
    order = Heap(current)
  }

  fileprivate mutating func remove(_ id: UInt64) -> Bool { connections.removeValue(forKey: id) != nil }

  fileprivate mutating func oldest(at now: NIODeadline, looks: Int, pause: TimeAmount) -> UInt64? {
    var looks = looks
    while looks > 0, let first = order.min, first.from <= now {
      guard let (from, use) = connections[first.id], from == first.from else {
        order.removeMin()
        continue
      }
      let actual = use.mayEndFrom
      if actual <= first.from { return first.id }
      looks -= 1
      order.removeMin()
      file(first.id, use, at: actual <= now ? actual : now + pause)
    }
    return nil
  }
}
