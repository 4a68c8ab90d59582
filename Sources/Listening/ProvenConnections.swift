// Connections that have sent an active key, by account and by network, and for each owner the connection that has been
// idle longest. Such a connection is closed for a new one only if its owner has more than its share.
//
// A connection becomes idle and busy with each request, and a lock for each change would cost more than answering some
// pushes. So each connection stores the time from which it may be closed in its own atomic word (`ConnectionUse`), and
// the limiter reads that word only when a connection must be closed. An owner's connections are in a heap, ordered by
// the values that their words had when they were added. Words nearly always grow. So if the word of the first entry is
// unchanged, it is the smallest of all. If it has changed, the entry is added again: the request that arrived in
// between pays for this.
//
// Rejected: asking the connections' event loops which of them are idle, because a new connection would have to wait for
// their answers. Rejected: a list in the order of use, because it would need the lock for each request.

internal import ClientAddress
internal import HeapModule
internal import NIOCore
internal import Synchronization

/// The time from which one connection may be closed for another. Its event loop writes the time, and a thread that
/// needs a connection to close reads it.
final class ConnectionUse: Sendable {
  private let nanoseconds = Atomic<UInt64>(.max)

  /// `.distantFuture` while the node handles a request of the connection.
  var mayEndFrom: NIODeadline {
    get { .uptimeNanoseconds(nanoseconds.load(ordering: .relaxed)) }
    set { nanoseconds.store(newValue.uptimeNanoseconds, ordering: .relaxed) }
  }
}

/// All of this is used only under the limiter's lock.
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
    /// The time of each connection's entry in the heap, and its atomic word.
    var connections: [UInt64: (from: NIODeadline, use: ConnectionUse)] = [:]
    /// The heap. Entries with another time than the connection's are out of date.
    var order = Heap<Entry>()
  }

  /// Maximum connections of an owner that loses none for others.
  let share: Int
  private var holders: [Holder: Held] = [:]
  /// Owners with more than their share. With shares of an eighth these are at most seven accounts and seven networks.
  private var large: [Holder] = []

  /// A connection that is in use when it is examined isn't examined again for this time.
  private static let pause = TimeAmount.seconds(1)
  /// Maximum entries examined for one new connection. If this number of the longest idle connections are all in use,
  /// nearly all connections are.
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

  /// The connection to close: of the owner with the most connections among those with more than their share.
  /// - Parameter excess: Number of connections beyond its share that an owner must have.
  mutating func oldestOfLarge(excess: Int, at now: NIODeadline) -> UInt64? {
    let candidates = large.map { (holder: $0, count: count(of: $0)) }.filter { $0.count - share >= excess }
    for (holder, _) in candidates.sorted(by: { $0.count > $1.count }) {
      if let id = oldest(of: holder, at: now) { return id }
    }
    return nil
  }

  /// Any connection of an account with more than this number, in use or not.
  func anyOfAccount(above most: Int) -> UInt64? {
    for holder in large where count(of: holder) > most {
      if case .account = holder { return holders[holder]?.connections.keys.first }
    }
    return nil
  }

  /// The owner's connection that has been idle longest; nil if all are in use.
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
