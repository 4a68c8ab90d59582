// The state of a client's connection. In a cluster that connection moves from node to node, and a second one may be
// open: to the node that a slot is moving to.

import Hiredis
import Logging
import NIOCore

/// The state of a client's connection. Used on the client's event loop only.
final class Supervision {
  private enum State {
    case connecting
    case connected(RedisConnection, since: NIODeadline)
    case waiting(Scheduled<Void>)
    case shutDown
  }

  private let endpoint: RedisEndpoint
  private let key: String?
  private let backoff: Backoff
  let eventLoop: any EventLoop
  private let logger: Logger
  let options: RedisOptions

  private var state = State.connecting
  /// Consecutive failures. A connection that was lost soon after it was opened counts as one.
  private var failures = 0
  private var saidAway = false
  private var saidDenied: [DeniedCommand] = []
  private var last: RedisError?
  /// Set by the first ``shutDown()``; completes when no connection is open any more.
  private var ended: EventLoopPromise<Void>?
  /// Connection attempts in progress.
  private var attempts = 0
  private var open: [ObjectIdentifier: RedisConnection] = [:]
  /// The connection attempt to the slot's new node.
  private var moving: EventLoopFuture<RedisConnection>?
  /// The earliest time to ask the cluster for the slot again; nil while it is being asked.
  private var nextSearch: NIODeadline? = .uptimeNanoseconds(0)
  /// The node that the slot is moving to, and the connection to it.
  private var beside: (host: RedisHost, connection: EventLoopFuture<RedisConnection>)?
  /// Groups of commands that are being sent again; see SlotRouting.
  var redirected = 0
  private var nextWaiter = 0
  private var waiters: [Int: EventLoopPromise<RedisConnection>] = [:]
  private var generator = SystemRandomNumberGenerator()

  init(
    endpoint: RedisEndpoint, options: RedisOptions, backoff: Backoff, key: String?, eventLoop: any EventLoop,
    logger: Logger
  ) {
    self.endpoint = endpoint
    self.key = key
    var options = options
    options.needsPrimary = true
    self.options = options
    self.backoff = backoff
    self.eventLoop = eventLoop
    self.logger = logger
  }

  func connect() {
    if case .shutDown = state { return }
    state = .connecting
    dial(RedisConnection.find(endpoint, options: options, routedBy: key, on: eventLoop)).assumeIsolated()
      .whenComplete { result in
        switch result {
        case .success(let connection): self.connected(connection)
        case .failure(let error): self.lost(because: error)
        }
      }
  }

  /// Counts open connections. A connection that completes after the shutdown is closed again.
  private func dial(_ attempt: EventLoopFuture<RedisConnection>) -> EventLoopFuture<RedisConnection> {
    attempts += 1
    let dialed = attempt.assumeIsolated().flatMapThrowing { connection in
      self.open[ObjectIdentifier(connection)] = connection
      connection.closed.assumeIsolated().whenComplete { _ in self.closed(connection) }
      if case .shutDown = self.state {
        connection.close()
        throw RedisError(.shutDown, outcome: .notSent)
      }
      return connection
    }
    dialed.whenComplete { _ in
      self.attempts -= 1
      self.endIfNothingIsOpen()
    }
    return dialed.nonisolated()
  }

  private func closed(_ connection: RedisConnection) {
    open[ObjectIdentifier(connection)] = nil
    if case .connected(let current, _) = state, current === connection {
      lost(
        because: connection.ended ?? RedisError(.closed("this process closed it"), outcome: .notSent),
        whileIdle: connection.wasClosedIdle)
    }
    endIfNothingIsOpen()
  }

  private func endIfNothingIsOpen() {
    if attempts == 0, open.isEmpty { ended?.succeed() }
  }

  private func connected(_ connection: RedisConnection) {
    guard connection.ended == nil else {
      lost(because: connection.ended ?? notConnected)
      return
    }
    if saidAway {
      logger.notice(
        "reconnected to Redis", metadata: ["redis": "\(endpoint)", "server": "\(connection.server)"])
    }
    saidAway = false
    if options.saysDenied, connection.denied != saidDenied {
      saidDenied = connection.denied
      logger.warning(
        "Redis denies commands that Sluice uses: allow them to this Redis user, see Deploy/redis/users.acl",
        metadata: [
          "redis": "\(endpoint)", "denied": "\(saidDenied.map { "\($0)" }.joined(separator: "; "))",
        ])
    }
    state = .connected(connection, since: .now())
    lookAfter(connection)
    let waiting = waiters
    waiters = [:]
    for promise in waiting.values { promise.succeed(connection) }
  }

  /// - Parameter isIdle: The peer closed the connection while no reply was pending, as servers do with connections that
  ///   are idle for long. That is an outage only if no new connection can be opened at once.
  private func lost(because error: any Error, whileIdle isIdle: Bool = false) {
    switch state {
    case .shutDown: return
    // If a server accepts connections and closes them soon, the wait must not start again at its shortest value.
    case .connected(_, let since) where NIODeadline.now() - since > backoff.most: failures = 0
    case .connected, .connecting, .waiting: break
    }
    failures += 1
    last = (error as? RedisError)?.with(outcome: .notSent)
    let isQuiet = isIdle && failures == 1
    let delay = isQuiet ? .zero : backoff.delay(afterFailures: failures, using: &generator)
    // Logged once per outage, not once per attempt, because repeated lines hide others.
    if !saidAway, !isQuiet {
      saidAway = true
      logger.warning(
        "Redis is unreachable; retrying", metadata: ["redis": "\(endpoint)", "reason": "\(error)"])
    }
    state = .waiting(eventLoop.assumeIsolated().scheduleTask(in: delay) { self.connect() })
  }

  /// Checks an idle connection from time to time. If a router has dropped it, or a proxy has closed its other side,
  /// this side isn't notified: the next command would fail with an unknown outcome.
  private func lookAfter(_ connection: RedisConnection) {
    let sends = connection.sends
    eventLoop.assumeIsolated().scheduleTask(in: Self.quietTime) {
      guard case .connected(let current, _) = self.state, current === connection, connection.ended == nil else {
        return
      }
      guard connection.sends == sends else { return self.lookAfter(connection) }
      // Any reply is sufficient. Without a reply the connection ends, and a new one is opened.
      connection.send(RedisCommand("PING"), within: Self.pingDeadline).assumeIsolated().whenComplete { _ in
        self.lookAfter(connection)
      }
    }
  }

  /// Much less than the time after which routers, load balancers and Redis's `timeout` close idle connections.
  private static let quietTime = TimeAmount.seconds(2)
  private static let pingDeadline = TimeAmount.seconds(2)

  func use<Value: Sendable>(
    _ body: (RedisConnection) -> EventLoopFuture<Value>
  ) -> EventLoopFuture<Value> {
    switch state {
    case .connected(let connection, _): body(connection)
    case .shutDown: eventLoop.makeFailedFuture(RedisError(.shutDown, outcome: .notSent))
    case .connecting, .waiting: eventLoop.makeFailedFuture(notConnected)
    }
  }

  func connection(within limit: TimeAmount) -> EventLoopFuture<RedisConnection> {
    switch state {
    case .connected(let connection, _): return eventLoop.makeSucceededFuture(connection)
    case .shutDown: return eventLoop.makeFailedFuture(RedisError(.shutDown, outcome: .notSent))
    case .connecting, .waiting: break
    }
    let promise = eventLoop.makePromise(of: RedisConnection.self)
    let number = nextWaiter
    nextWaiter += 1
    waiters[number] = promise
    let late = eventLoop.assumeIsolated().scheduleTask(in: limit) {
      self.waiters.removeValue(forKey: number)?.fail(self.notConnected)
    }
    promise.futureResult.whenComplete { _ in late.cancel() }
    return promise.futureResult
  }

  var current: Result<RedisConnection, RedisError> {
    switch state {
    case .connected(let connection, _): .success(connection)
    case .shutDown: .failure(RedisError(.shutDown, outcome: .notSent))
    case .connecting, .waiting: .failure(notConnected)
    }
  }

  private var notConnected: RedisError {
    RedisError(.notConnected(last: last.map { "\($0)" }), outcome: .notSent)
  }

  var isConnected: Bool {
    if case .connected = state { true } else { false }
  }

  func shutDown() -> EventLoopFuture<Void> {
    if let ended { return ended.futureResult }
    let ended = eventLoop.makePromise(of: Void.self)
    self.ended = ended
    if case .waiting(let task) = state { task.cancel() }
    state = .shutDown
    // An attempt in progress checks for the shutdown when it completes, at the latest at its deadline.
    for connection in open.values { connection.close() }
    endIfNothingIsOpen()
    let waiting = waiters
    waiters = [:]
    for promise in waiting.values { promise.fail(RedisError(.shutDown, outcome: .notSent)) }
    return ended.futureResult
  }

  // MARK: Clusters

  /// Follows the slot to its new node.
  ///
  /// Until the new connection is open, other commands are still sent on the old one, and are redirected too: otherwise
  /// all of them would fail while the new one is being opened. Earlier commands on the old one are still answered.
  /// - Parameter connection: The connection with the redirection. If another command was redirected before, the slot
  ///   may already have been followed.
  func moved(to host: RedisHost, accordingTo connection: RedisConnection) -> EventLoopFuture<RedisConnection> {
    guard case .connected(let current, _) = state, current === connection else {
      return use { eventLoop.makeSucceededFuture($0) }
    }
    if let moving { return moving }
    let attempt = other(host)
    moving = attempt
    attempt.assumeIsolated().whenComplete { result in
      self.moving = nil
      self.beside = nil
      guard case .connected(let current, _) = self.state, current === connection else {
        // The connection was lost in the meantime, and a new one is already being opened.
        if case .success(let new) = result { new.retire() }
        return
      }
      switch result {
      case .success(let new):
        self.logger.info("cluster slot moved", metadata: ["redis": "\(self.endpoint)", "server": "\(new.server)"])
        self.connected(new)
      // The redirection may be out of date, so the cluster is asked again.
      case .failure(let error): self.lost(because: error)
      }
      connection.retire()
    }
    return attempt
  }

  /// Asks the cluster again which node has the slot, because this node answers that the cluster is down. The node may
  /// be cut off from the others, which may have promoted another node.
  ///
  /// Until the answer, other commands are still sent on this connection: the cluster may really be down, and recover.
  func searchAnew(insteadOf connection: RedisConnection) {
    guard case .connected(let current, _) = state, current === connection, let due = nextSearch, due <= .now() else {
      return
    }
    nextSearch = nil
    dial(RedisConnection.find(endpoint, options: options, routedBy: key, on: eventLoop)).assumeIsolated()
      .whenComplete { result in
        self.nextSearch = .now() + Self.searchPause
        // A failure is ignored: the present node doesn't serve the slot either.
        guard case .success(let new) = result else { return }
        guard case .connected(let current, _) = self.state, current === connection, self.moving == nil else {
          new.retire()
          return
        }
        if new.server != connection.server {
          self.logger.info(
            "cluster slot served by another node", metadata: ["redis": "\(self.endpoint)", "server": "\(new.server)"])
        }
        self.connected(new)
        connection.retire()
      }
  }

  /// Limits how often the clients of a cluster that is down ask it.
  private static let searchPause = TimeAmount.milliseconds(200)

  /// A second connection, to another node.
  func other(_ host: RedisHost) -> EventLoopFuture<RedisConnection> {
    if let beside, beside.host == host { return beside.connection }
    beside?.connection.whenSuccess { $0.retire() }
    let server = endpoint.server(announcedAs: host)
    let attempt = dial(RedisConnection.connect(toServer: server, options: options, on: eventLoop))
    beside = (host, attempt)
    attempt.flatMap(\.closed).assumeIsolated().whenComplete { _ in
      if self.beside?.connection === attempt { self.beside = nil }
    }
    return attempt
  }
}
