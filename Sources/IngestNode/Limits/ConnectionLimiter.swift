// How many connections there may be, in all and from one client, and which of them ends when there is no place for one
// more.
//
// A limit alone lets whoever comes first keep everybody else out: a few thousand connections that say nothing cost
// their owner next to nothing. So a connection is expendable until it has proven itself (a push connection by a key
// that was admitted), and when places run out the oldest expendable connection of the client that has the most of them
// is closed for the one that comes. A flood then takes its places from itself, and a client with few connections keeps
// them long enough to say what it has to say. nginx does the same with idle connections.
//
// With one good key somebody could still hold all places. So an account or a network that has more than its share of
// proven connections loses the one that has been idle longest, where it has more beyond its share than any client has
// unproven ones. Within its share a connection that has proven itself is closed for nobody. Connections that are never
// idle (bodies that drip) are no way to all places either: where nothing else makes place, an account that has more than
// half of them loses one, at most ten a second. More would cost a node that has a single customer, and too many clients of
// that one, more requests than it helps.
//
// A client is a network, see `IPAddress.network`: whoever has an IPv6 /64 has all of its addresses.

internal import ClientAddress
internal import DequeModule
internal import NIOCore
internal import Synchronization

/// Counts connections, from any thread.
final class ConnectionLimiter: Sendable {
  let limit: Int
  private let limitByAddress: Int
  private let courtesies: Int
  private let state: Mutex<State>

  /// - Parameters:
  ///   - limit: Connections in all.
  ///   - limitByAddress: Connections of one client.
  ///   - courtesies: Connections over the limit that may be told so at once.
  init(limit: Int, limitByAddress: Int = .max, courtesies: Int = 16) {
    self.limit = limit
    self.limitByAddress = limitByAddress
    self.courtesies = courtesies
    // An eighth, as of the memory for bodies.
    state = Mutex(State(share: max(1, limit / 8), half: max(1, limit / 2)))
  }

  var current: Int { state.withLock { $0.count } }

  /// Whether more than half of the places are taken: of all, or of those that a client may have.
  /// - Parameter address: The client's; nil where it isn't known, or the limit for one client doesn't hold for it.
  func isCrowded(for address: IPAddress?) -> Bool {
    state.withLock { state in
      state.count > limit / 2 || (address.map { state.count(of: $0.network) > limitByAddress / 2 } ?? false)
    }
  }

  /// How many connections were closed to make place for others.
  var evictions: Int { state.withLock { $0.evictions } }

  /// A connection has come.
  /// - Parameters:
  ///   - address: The client's; nil where it isn't known yet.
  ///   - isExempt: Whether the limit for one client doesn't hold for it, since many stand behind it.
  ///   - isUnclaimed: Whether a proxy has yet to say whose it is: ``ConnectionPlace/claim(_:isExempt:at:)``. Until then
  ///     it is closed for no other. Counted as one client's, those that come at one moment would be more than any
  ///     client has, and lose their places before they had said anything.
  ///   - reset: Closes the connection; called from any thread when its place is taken away.
  /// - Returns: nil where it is one too many.
  func enter(
    from address: IPAddress? = nil, isExempt: Bool = false, isUnclaimed: Bool = false, at now: NIODeadline = .now(),
    reset: @escaping @Sendable () -> Void
  ) -> ConnectionPlace? {
    let client = address?.network
    let use = ConnectionUse()
    let (id, evicted) = state.withLock { state -> (UInt64?, State.Reset?) in
      var evicted: State.Reset?
      if let client, !isExempt, state.count(of: client) >= limitByAddress {
        evicted = state.evict(of: client, at: now)
        guard evicted != nil else { return (nil, nil) }
      } else if state.count >= limit {
        evicted = state.evict(at: now)
        guard evicted != nil else { return (nil, nil) }
      }
      return (state.insert(from: client, isExempt: isExempt, isUnclaimed: isUnclaimed, use, reset: reset), evicted)
    }
    evicted?()
    return id.map { ConnectionPlace($0, use, of: self) }
  }

  /// A connection over the limit is to be told so. To be ended by ``endCourtesy()``.
  /// - Returns: Whether that is possible; otherwise too many are being told already.
  func beginCourtesy() -> Bool {
    state.withLock { state in
      guard state.courtesies < courtesies else { return false }
      state.courtesies += 1
      return true
    }
  }

  func endCourtesy() { state.withLock { $0.courtesies -= 1 } }

  fileprivate func claim(_ id: UInt64, _ client: IPAddress, isExempt: Bool, at now: NIODeadline) -> Bool {
    let (isClaimed, evicted) = state.withLock { state -> (Bool, State.Reset?) in
      // Its place was taken away meanwhile, and it is being closed.
      guard let connection = state.remove(id) else { return (false, nil) }
      var evicted: State.Reset?
      if !isExempt, state.count(of: client) >= limitByAddress {
        evicted = state.evict(of: client, at: now)
        guard evicted != nil else { return (false, nil) }
      }
      state.insert(id, from: client, isExempt: isExempt, connection.use, reset: connection.reset)
      return (true, evicted)
    }
    evicted?()
    return isClaimed
  }

  fileprivate func leave(_ id: UInt64) { state.withLock { _ = $0.remove(id) } }
  fileprivate func protect(_ id: UInt64) { state.withLock { $0.protect(id) } }
  fileprivate func expose(_ id: UInt64) { state.withLock { $0.expose(id) } }

  fileprivate func prove(_ id: UInt64, by account: String, at now: NIODeadline) {
    state.withLock { $0.prove(id, by: account, at: now) }
  }
}

/// One connection's place among all of them. Given back once, however often that is said.
final class ConnectionPlace {
  private let id: UInt64
  private let limiter: ConnectionLimiter
  private let use: ConnectionUse
  private(set) var isProtected = false

  fileprivate init(_ id: UInt64, _ use: ConnectionUse, of limiter: ConnectionLimiter) {
    self.id = id
    self.use = use
    self.limiter = limiter
  }

  /// The connection is from this address. Where there are too many from it already, the place is given back at once: a
  /// flood from one address that is turned away takes no room from others.
  /// - Parameter isExempt: As in ``ConnectionLimiter/enter(from:isExempt:reset:)``.
  /// - Returns: Whether there may be one more.
  func claim(_ address: IPAddress, isExempt: Bool = false, at now: NIODeadline = .now()) -> Bool {
    limiter.claim(id, address.network, isExempt: isExempt, at: now)
  }

  /// The connection is closed for no other.
  func protect() {
    guard !isProtected else { return }
    isProtected = true
    limiter.protect(id)
  }

  /// The connection has proven itself, and counts as this account's from now on: it may be closed for others only where
  /// the account or the client has more than its share. It is in use until ``mayEndFrom`` says otherwise.
  /// - Returns: Whether it does so for the first time.
  @discardableResult
  func prove(by account: String, at now: @autoclosure () -> NIODeadline) -> Bool {
    // Once for a connection and not once for a request: this takes a lock.
    guard !isProtected else { return false }
    isProtected = true
    use.mayEndFrom = .distantFuture
    limiter.prove(id, by: account, at: now())
    return true
  }

  /// From when on the connection, once it has proven itself, may be closed for another; `.distantFuture` while the node
  /// has a request of it in hand.
  var mayEndFrom: NIODeadline {
    get { use.mayEndFrom }
    set { use.mayEndFrom = newValue }
  }

  /// The connection may be closed for another again, after all that may be now.
  func expose() {
    isProtected = false
    limiter.expose(id)
  }

  func giveBack() { limiter.leave(id) }
}

/// What is known of all connections, under the limiter's lock.
private struct State: ~Copyable {
  typealias Reset = @Sendable () -> Void

  struct Connection {
    let client: IPAddress?
    /// Whether many stand behind its client, so that it counts as nobody's.
    let isExempt: Bool
    let use: ConnectionUse
    /// When it was exposed last, as a number in a row; nil while it is protected.
    fileprivate(set) var ticket: UInt64?
    /// By which it has proven itself.
    fileprivate(set) var account: String?
    let reset: Reset

    fileprivate var holders: [ProvenConnections.Holder] {
      guard let account, !isExempt else { return [] }
      return [.account(account)] + (client.map { [.network($0)] } ?? [])
    }
  }

  private struct Client {
    var connections = 0
    /// How many of them are exposed.
    var exposed = 0
    /// Since when it has so many, as a number in a row.
    var since: UInt64 = 0
    /// Those, the oldest first, among others that aren't exposed any more or were exposed again later: their ticket is
    /// another one.
    var order: Deque<(id: UInt64, ticket: UInt64)> = []
  }

  /// Clients that have equally many exposed connections. Those that have had them for longest come first: in any other order, a hash's for example,
  /// some clients would lose their connections again and again and others never.
  private struct Rank {
    var count = 0
    /// Those, among others that have more or fewer by now or again.
    var order: Deque<(client: IPAddress?, since: UInt64)> = []
  }

  var courtesies = 0
  private(set) var evictions = 0
  private var connections: [UInt64: Connection] = [:]
  private var clients: [IPAddress?: Client] = [:]
  /// Clients by how many exposed connections they have; none with zero.
  private var ranks: [Int: Rank] = [:]
  private var highestRank = 0
  private var lastNumber: UInt64 = 0
  private var proven: ProvenConnections

  private let half: Int
  /// When a connection in use may be closed for another again.
  private var nextInUse = NIODeadline.uptimeNanoseconds(0)
  private static let pauseInUse = TimeAmount.milliseconds(100)

  init(share: Int, half: Int) {
    proven = ProvenConnections(share: share)
    self.half = half
  }

  private mutating func number() -> UInt64 {
    lastNumber += 1
    return lastNumber
  }

  var count: Int { connections.count }

  func count(of client: IPAddress) -> Int { clients[client]?.connections ?? 0 }

  mutating func insert(
    from client: IPAddress?, isExempt: Bool, isUnclaimed: Bool, _ use: ConnectionUse, reset: @escaping Reset
  ) -> UInt64 {
    let id = number()
    insert(id, from: client, isExempt: isExempt, isUnclaimed: isUnclaimed, use, reset: reset)
    return id
  }

  mutating func insert(
    _ id: UInt64, from client: IPAddress?, isExempt: Bool, isUnclaimed: Bool = false, _ use: ConnectionUse,
    reset: @escaping Reset
  ) {
    connections[id] = Connection(client: client, isExempt: isExempt, use: use, reset: reset)
    clients[client, default: Client()].connections += 1
    if !isUnclaimed { expose(id) }
  }

  /// - Returns: nil where it isn't here any more.
  mutating func remove(_ id: UInt64) -> Connection? {
    protect(id)
    guard let connection = connections.removeValue(forKey: id) else { return nil }
    for holder in connection.holders { proven.remove(id, of: holder) }
    let client = connection.client
    clients[client]?.connections -= 1
    if clients[client]?.connections == 0 { clients[client] = nil }
    return connection
  }

  mutating func prove(_ id: UInt64, by account: String, at now: NIODeadline) {
    protect(id)
    connections[id]?.account = account
    guard let connection = connections[id] else { return }
    for holder in connection.holders { proven.insert(id, connection.use, of: holder, at: now) }
  }

  mutating func protect(_ id: UInt64) {
    guard let connection = connections[id], connection.ticket != nil else { return }
    connections[id]?.ticket = nil
    rank(connection.client, by: -1)
    compact(connection.client)
  }

  mutating func expose(_ id: UInt64) {
    guard let connection = connections[id] else { return }
    let ticket = number()
    connections[id]?.ticket = ticket
    clients[connection.client]?.order.append((id, ticket))
    if connection.ticket == nil { rank(connection.client, by: 1) } else { compact(connection.client) }
  }

  /// Makes place in all.
  mutating func evict(at now: NIODeadline) -> Reset? {
    // Who has most loses one: beyond its share where that is proven connections, or of unproven ones.
    proven.oldestOfLarge(excess: highestRank, at: now).flatMap { evict($0) } ?? evictFromHeaviest()
      ?? evictInUse(at: now)
  }

  private mutating func evictInUse(at now: NIODeadline) -> Reset? {
    guard now >= nextInUse, let id = proven.anyOfAccount(above: half) else { return nil }
    nextInUse = now + Self.pauseInUse
    return evict(id)
  }

  /// Makes place for one more of a client that has as many as it may have.
  mutating func evict(of client: IPAddress, at now: NIODeadline) -> Reset? {
    evictOldest(of: client) ?? proven.oldest(of: .network(client), at: now).flatMap { evict($0) }
  }

  private mutating func evict(_ id: UInt64) -> Reset? {
    guard let connection = remove(id) else { return nil }
    evictions += 1
    return connection.reset
  }

  private mutating func evictFromHeaviest() -> Reset? {
    while let (client, since) = ranks[highestRank]?.order.popFirst() {
      if isCurrent(client, since, at: highestRank) { return evictOldest(of: client) }
    }
    return nil
  }

  private func isCurrent(_ client: IPAddress?, _ since: UInt64, at rank: Int) -> Bool {
    clients[client].map { $0.exposed == rank && $0.since == since } ?? false
  }

  private mutating func evictOldest(of client: IPAddress?) -> Reset? {
    while let (id, ticket) = clients[client]?.order.popFirst() {
      guard connections[id]?.ticket == ticket else { continue }
      return evict(id)
    }
    return nil
  }

  private mutating func rank(_ client: IPAddress?, by change: Int) {
    guard let old = clients[client]?.exposed else { return }
    let new = old + change
    let since = number()
    clients[client]?.exposed = new
    clients[client]?.since = since
    if old > 0 {
      ranks[old]?.count -= 1
      if ranks[old]?.count == 0 { ranks[old] = nil }
    }
    if new > 0 {
      ranks[new, default: Rank()].count += 1
      ranks[new]?.order.append((client, since))
      compact(rank: new)
    }
    // By one at most, either way: where the highest rank has become empty, the client is in the one below.
    if new > highestRank { highestRank = new } else if ranks[highestRank] == nil { highestRank -= 1 }
  }

  /// Throws away what is left of clients that are in other ranks, when that is more than half.
  private mutating func compact(rank: Int) {
    guard let found = ranks[rank], found.order.count > 2 * found.count + 8 else { return }
    let current = found.order.filter { isCurrent($0.client, $0.since, at: rank) }
    ranks[rank]?.order = current
  }

  /// Throws away what is left of connections that are gone, when that is more than half.
  private mutating func compact(_ client: IPAddress?) {
    guard let found = clients[client], found.order.count > 2 * found.exposed + 8 else { return }
    clients[client]?.order.removeAll { connections[$0.id]?.ticket != $0.ticket }
  }
}
