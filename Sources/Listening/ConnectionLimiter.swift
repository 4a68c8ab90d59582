// Limits the number of connections, in all and from one client, and chooses the connection to close for a new one.
//
// With a limit alone the first clients would keep all others out: a few thousand silent connections cost their owner
// next to nothing. So a connection is unproven until it has sent an active key. When connections run out, the oldest
// unproven connection of the client with the most of them is closed for the new one. A flood then closes its own
// connections, and a client with few connections keeps them for long enough to send its request. nginx does the same
// with idle connections.
//
// An attacker with as many networks as there are places has one connection of each. Then all clients have equally many,
// and a new client would lose its connection before its first bytes arrive. So networks that have shown an active key
// lately are known: four connections of theirs count as one, and of clients with equally many a stranger loses one
// first. Their number is bounded, and the one that has shown no key for longest is forgotten first.
//
// With one active key a client could still use all connections. So an account or a network with more than its share of
// proven connections loses the one that has been idle longest, if its excess is larger than the number of unproven
// connections of any client. Within its share no proven connection is closed for another. Connections that are never
// idle (bodies that arrive byte by byte) can't use up all connections either: if nothing else can be closed, an account
// with more than half of all connections loses one, at most ten a second. With more than ten, a node whose only
// customer has too many clients would lose more requests than it gains.
//
// A client is a network, see `IPAddress.network`: the owner of an IPv6 /64 has all of its addresses.

package import ClientAddress
internal import DequeModule
package import NIOCore
internal import Synchronization

/// Counts connections, from any thread.
package final class ConnectionLimiter: Sendable {
  package let limit: Int
  private let limitByAddress: Int
  private let courtesies: Int
  private let state: Mutex<State>

  /// - Parameters:
  ///   - limit: Maximum connections in all.
  ///   - limitByAddress: Maximum connections of one client.
  ///   - courtesies: Maximum connections over the limit that are answered 503 at the same time.
  package init(limit: Int, limitByAddress: Int = .max, courtesies: Int = 16) {
    self.limit = limit
    self.limitByAddress = limitByAddress
    self.courtesies = courtesies
    // An eighth, as for body memory.
    state = Mutex(State(share: max(1, limit / 8), half: max(1, limit / 2), known: max(1_024, 2 * min(limit, 50_000))))
  }

  package var current: Int { state.withLock { $0.count } }

  /// Whether more than half of the connections are in use: of all, or of this client's.
  /// - Parameter address: The client's address; nil if it isn't known, or if the limit for one client doesn't apply.
  package func isCrowded(for address: IPAddress?) -> Bool {
    state.withLock { state in
      state.count > limit / 2 || (address.map { state.count(of: $0.network) > limitByAddress / 2 } ?? false)
    }
  }

  /// The number of connections that were closed for others.
  package var evictions: Int { state.withLock { $0.evictions } }

  /// Counts a new connection.
  /// - Parameters:
  ///   - address: The client's address; nil if it isn't known yet.
  ///   - isExempt: Whether the limit for one client doesn't apply, because it is a proxy for many clients.
  ///   - isUnclaimed: Whether a proxy header will name the client later: ``ConnectionPlace/claim(_:isExempt:at:)``.
  ///     Until then the connection isn't closed for another. If such connections counted as one client's, those that
  ///     arrive at one moment would be more than any client has. They would be closed before they had sent anything.
  ///   - reset: Closes the connection. Called from any thread when it is closed for another.
  /// - Returns: nil if the connection exceeds a limit and no other can be closed.
  package func enter(
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

  /// Reserves one of the 503 answers for connections over the limit. ``endCourtesy()`` returns it.
  /// - Returns: Whether there was one left.
  package func beginCourtesy() -> Bool {
    state.withLock { state in
      guard state.courtesies < courtesies else { return false }
      state.courtesies += 1
      return true
    }
  }

  package func endCourtesy() { state.withLock { $0.courtesies -= 1 } }

  fileprivate func claim(_ id: UInt64, _ client: IPAddress, isExempt: Bool, at now: NIODeadline) -> Bool {
    let (isClaimed, evicted) = state.withLock { state -> (Bool, State.Reset?) in
      // The connection was closed for another one meanwhile, and is ending.
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

/// One connection in the limiter's count. It is uncounted only once, however often that is requested.
package final class ConnectionPlace {
  private let id: UInt64
  private let limiter: ConnectionLimiter
  private let use: ConnectionUse
  package private(set) var isProtected = false

  fileprivate init(_ id: UInt64, _ use: ConnectionUse, of limiter: ConnectionLimiter) {
    self.id = id
    self.use = use
    self.limiter = limiter
  }

  /// Sets the client's address. If that client has too many connections, this one is uncounted at once, so that a flood
  /// from one address uses no connections of others while it is turned away.
  /// - Parameter isExempt: As in ``ConnectionLimiter/enter(from:isExempt:reset:)``.
  /// - Returns: Whether the client may have one more.
  package func claim(_ address: IPAddress, isExempt: Bool = false, at now: NIODeadline = .now()) -> Bool {
    limiter.claim(id, address.network, isExempt: isExempt, at: now)
  }

  /// The connection isn't closed for another from now on.
  package func protect() {
    guard !isProtected else { return }
    isProtected = true
    limiter.protect(id)
  }

  /// Marks the connection as proven, and counts it for this account. From then on it may be closed for others only if
  /// the account or the client has more than its share. It counts as in use until ``mayEndFrom`` is set.
  /// - Returns: Whether it is the first time.
  @discardableResult
  package func prove(by account: String, at now: @autoclosure () -> NIODeadline) -> Bool {
    // Once per connection and not per request, because this takes a lock.
    guard !isProtected else { return false }
    isProtected = true
    use.mayEndFrom = .distantFuture
    limiter.prove(id, by: account, at: now())
    return true
  }

  /// The time from which the connection, once it is proven, may be closed for another; `.distantFuture` while the node
  /// handles a request of it.
  package var mayEndFrom: NIODeadline {
    get { use.mayEndFrom }
    set { use.mayEndFrom = newValue }
  }

  /// Makes the connection available for closing again, after all that are available now.
  package func expose() {
    isProtected = false
    limiter.expose(id)
  }

  package func giveBack() { limiter.leave(id) }
}

/// The state of all connections, under the limiter's lock.
private struct State: ~Copyable {
  typealias Reset = @Sendable () -> Void

  struct Connection {
    let client: IPAddress?
    /// Whether the client is a proxy for many clients, so that the connection counts for no client.
    let isExempt: Bool
    let use: ConnectionUse
    /// A sequence number of its last exposure; nil while it is protected.
    fileprivate(set) var ticket: UInt64?
    /// The account of the key by which the connection is proven.
    fileprivate(set) var account: String?
    let reset: Reset

    fileprivate var holders: [ProvenConnections.Holder] {
      guard let account, !isExempt else { return [] }
      return [.account(account)] + (client.map { [.network($0)] } ?? [])
    }
  }

  private struct Client {
    var connections = 0
    /// The number of exposed connections.
    var exposed = 0
    /// Whether the client has shown an active key lately.
    var isKnown: Bool
    /// A sequence number of the moment since which the client has this number of connections.
    var since: UInt64 = 0
    /// The exposed connections, the oldest first. An entry with another ticket than the connection's is out of date:
    /// the connection isn't exposed any more, or was exposed again later.
    var order: Deque<(id: UInt64, ticket: UInt64)> = []

    init(isKnown: Bool) { self.isKnown = isKnown }

    /// The number by which clients are compared. 0 only if the client has no exposed connection.
    var weight: Int { isKnown ? (exposed + 3) / 4 : exposed }
  }

  var courtesies = 0
  private(set) var evictions = 0
  private var connections: [UInt64: Connection] = [:]
  private var clients: [IPAddress?: Client] = [:]
  /// Clients by their weight, without those that have no exposed connection.
  private var ranks: [Int: ClientRank] = [:]
  private var highestRank = 0
  private var lastNumber: UInt64 = 0
  private var proven: ProvenConnections
  private var known: KnownNetworks

  private let half: Int
  /// The time from which another connection in use may be closed.
  private var nextInUse = NIODeadline.uptimeNanoseconds(0)
  private static let pauseInUse = TimeAmount.milliseconds(100)

  init(share: Int, half: Int, known: Int) {
    proven = ProvenConnections(share: share)
    self.known = KnownNetworks(limit: known)
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
    let isKnown = known.contains(client)
    clients[client, default: Client(isKnown: isKnown)].connections += 1
    if !isUnclaimed { expose(id) }
  }

  /// - Returns: nil if the connection was removed before.
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
    guard let client = connection.client, let found = clients[client] else { return }
    known.note(client, number())
    if !found.isKnown { place(client, exposed: found.exposed, isKnown: true) }
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

  /// Closes a connection so that one more fits into the total limit.
  mutating func evict(at now: NIODeadline) -> Reset? {
    // The owner of the most connections loses one: a proven connection if it has more than its share of those,
    // otherwise an unproven one.
    proven.oldestOfLarge(excess: highestRank, at: now).flatMap { evict($0) } ?? evictFromHeaviest()
      ?? evictInUse(at: now)
  }

  private mutating func evictInUse(at now: NIODeadline) -> Reset? {
    guard now >= nextInUse, let id = proven.anyOfAccount(above: half) else { return nil }
    nextInUse = now + Self.pauseInUse
    return evict(id)
  }

  /// Closes a connection of a client that is at its own limit.
  mutating func evict(of client: IPAddress, at now: NIODeadline) -> Reset? {
    evictOldest(of: client) ?? proven.oldest(of: .network(client), at: now).flatMap { evict($0) }
  }

  private mutating func evict(_ id: UInt64) -> Reset? {
    guard let connection = remove(id) else { return nil }
    evictions += 1
    return connection.reset
  }

  private mutating func evictFromHeaviest() -> Reset? {
    while let (client, since) = ranks[highestRank]?.popFirst() {
      if isCurrent(client, since, at: highestRank) { return evictOldest(of: client) }
    }
    return nil
  }

  private func isCurrent(_ client: IPAddress?, _ since: UInt64, at rank: Int) -> Bool {
    clients[client].map { $0.weight == rank && $0.since == since } ?? false
  }

  private mutating func evictOldest(of client: IPAddress?) -> Reset? {
    while let (id, ticket) = clients[client]?.order.popFirst() {
      guard connections[id]?.ticket == ticket else { continue }
      return evict(id)
    }
    return nil
  }

  private mutating func rank(_ client: IPAddress?, by change: Int) {
    guard let found = clients[client] else { return }
    place(client, exposed: found.exposed + change, isKnown: found.isKnown)
  }

  private mutating func place(_ client: IPAddress?, exposed: Int, isKnown: Bool) {
    guard var placed = clients[client] else { return }
    let old = placed.weight
    placed.exposed = exposed
    placed.isKnown = isKnown
    placed.since = number()
    clients[client] = placed
    let new = placed.weight
    if old > 0 {
      ranks[old]?.count -= 1
      if ranks[old]?.count == 0 { ranks[old] = nil }
    }
    if new > 0 {
      ranks[new, default: ClientRank()].count += 1
      ranks[new]?.append((client, placed.since), isKnown: isKnown)
      compact(rank: new)
    }
    highestRank = max(highestRank, new)
    // One step, except for a client that becomes known.
    while highestRank > 0, ranks[highestRank] == nil { highestRank -= 1 }
  }

  /// Removes out-of-date entries of clients that are in other ranks, when these are more than half.
  private mutating func compact(rank: Int) {
    guard let found = ranks[rank], found.strangers.count + found.known.count > 2 * found.count + 8 else { return }
    let strangers = found.strangers.filter { isCurrent($0.client, $0.since, at: rank) }
    let known = found.known.filter { isCurrent($0.client, $0.since, at: rank) }
    ranks[rank]?.strangers = strangers
    ranks[rank]?.known = known
  }

  /// Removes out-of-date entries of connections that are gone, when these are more than half.
  private mutating func compact(_ client: IPAddress?) {
    guard let found = clients[client], found.order.count > 2 * found.exposed + 8 else { return }
    clients[client]?.order.removeAll { connections[$0.id]?.ticket != $0.ticket }
  }
}
