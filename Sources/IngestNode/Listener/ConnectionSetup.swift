// The steps of every connection to the push listener before its first request: the connection is counted, a load
// balancer's PROXY header is read, TLS begins, and then the connection is served or turned away.

internal import ClientAddress
internal import KeyReplica
internal import KeyStore
internal import Listening
internal import Logging
internal import Metrics
internal import NIOCore
internal import NIOSSL

/// The resources that all connections of one event loop share.
struct EventLoopResources: Sendable {
  let gate: any PushHandling
  let budget: NIOLoopBoundBox<ByteBudget>
  let turns: NIOLoopBoundBox<ConnectionTurns>
  let handshakes: NIOLoopBoundBox<HandshakeTurns>
}

/// Sets up connections.
struct ConnectionSetup: Sendable {
  /// One for each event loop.
  let eventLoops: [EventLoopResources]
  let shared: ListenerContext
  let connections: ConnectionLimiter
  let identity: TLSIdentity?
  let expectsProxyHeader: Bool
  let logger: Logger
  private let handshakes: ConnectionRate
  private let arrivals: ArrivalLimiter
  private let log: ConnectionLog
  private let lines = LineLimiter()
  private let refusedHeaders = Counter(label: "sluice_proxy_headers_refused_total")

  init(
    eventLoops: [EventLoopResources], shared: ListenerContext, connections: ConnectionLimiter, identity: TLSIdentity?,
    expectsProxyHeader: Bool, handshakes: ConnectionRate = ConnectionRate(), logger: Logger
  ) {
    self.eventLoops = eventLoops
    self.shared = shared
    self.connections = connections
    self.identity = identity
    self.expectsProxyHeader = expectsProxyHeader
    self.handshakes = handshakes
    self.logger = logger
    arrivals = ArrivalLimiter(eventLoops: eventLoops.count, handshake: identity?.certificate.keyKind.handshake)
    log = ConnectionLog("push", logger: logger)
  }

  /// Whether an accepted connection may begin. Called on the accepting thread. If the result is true, ``receive(_:)``
  /// is called next, on the connection's event loop.
  /// - Parameter waiting: Connections that were accepted before and aren't set up yet.
  func admits(_ connection: ArrivingConnection, waiting: Int) -> Bool {
    let client = client(of: connection)
    if arrivals.admits(client, waiting: waiting, isCrowded: connections.isCrowded(for: client), at: .recent) {
      return true
    }
    log.note(.tooManyArrivals, peer: client.map { "\($0)" })
    return false
  }

  /// - Returns: nil if the client isn't known, or is a proxy for many clients.
  private func client(of connection: ArrivingConnection) -> IPAddress? {
    let isTrusted = { (address: IPAddress) in shared.trusted.contains(address) }
    guard let peer = connection.peer, isTrusted(peer) else { return connection.peer }
    guard expectsProxyHeader, let client = connection.clientOfProxy() else { return nil }
    return isTrusted(client) ? nil : client
  }

  /// Called on the channel's event loop, before anything is read from it.
  /// - Throws: ``TurnedAway`` for a connection that isn't served. The caller closes the channel. It can't be closed
  ///   here, because NIO registers it next.
  func receive(_ channel: any Channel) throws {
    // nil for a Unix socket, and for a client that has disconnected already.
    let peer = channel.remoteAddress?.ipAddress.flatMap { IPAddress(text: Array($0.utf8).span.bytes) }
    guard expectsProxyHeader else {
      guard let place = place(for: channel, from: peer) else { return try turnAway(channel, client: peer) }
      return try serve(channel, at: place, client: peer)
    }
    guard let peer, shared.trusted.contains(peer) else {
      refuseHeader(of: channel, "connection closed: its address isn't in --trust-proxies")
      return try reset(channel)
    }
    // The client's address is known when the header has arrived.
    guard let place = place(for: channel, from: nil, isUnclaimed: true) else {
      return try turnAway(channel, client: nil)
    }
    let loopBound = NIOLoopBound(channel, eventLoop: channel.eventLoop)
    try channel.pipeline.syncOperations.addHandler(
      ProxyHeaderHandler(
        deadline: shared.deadlines.head,
        refused: { reason in
          self.refuseHeader(
            of: loopBound.value, "connection closed: PROXY protocol header not accepted", ["reason": "\(reason)"])
        },
        began: { source in
          let (channel, client) = (loopBound.value, source ?? peer)
          let isExempt = self.shared.trusted.contains(client)
          if place.claim(client, isExempt: isExempt, at: channel.eventLoop.now) {
            try self.serve(channel, at: place, client: client)
          } else {
            try self.turnAway(channel, client: client)
          }
        }))
  }

  /// - Parameters:
  ///   - client: nil if the client isn't known, or not yet.
  ///   - isUnclaimed: Whether the client will be known later.
  /// - Returns: nil for a connection over the limit.
  private func place(
    for channel: any Channel, from client: IPAddress?, isUnclaimed: Bool = false
  ) -> ConnectionPlace? {
    let log = log
    let place = connections.enter(
      from: client, isExempt: client.map(shared.trusted.contains) ?? true, isUnclaimed: isUnclaimed,
      at: channel.eventLoop.now
    ) {
      channel.eventLoop.execute {
        guard channel.isActive else { return channel.close(promise: nil) }
        let connection: PushConnection
        do {
          connection = try channel.pipeline.syncOperations.handler(type: PushConnection.self)
        } catch {
          // The connection isn't served yet.
          log.note(.evicted, peer: channel.remoteAddress?.ipAddress)
          return channel.reset()
        }
        log.note(connection.isProven ? .evictedIdle : .evicted, peer: channel.remoteAddress?.ipAddress)
        connection.giveWay()
      }
    }
    if let place { channel.closeFuture.assumeIsolated().whenComplete { _ in place.giveBack() } }
    return place
  }

  private func serve(_ channel: any Channel, at place: ConnectionPlace, client: IPAddress?) throws {
    if let client, let identity, !shared.trusted.contains(client),
      !handshakes.admit(client, costing: identity.certificate.keyKind.handshake, at: .recent)
    {
      log.note(.tooManyHandshakes, peer: "\(client)")
      return try reset(channel)
    }
    let eventLoop = resources(of: channel)
    try addTLS(to: channel, client: client, eventLoop)
    try channel.pipeline.syncOperations.addHandler(
      PushConnection(
        gate: eventLoop.gate, shared: shared, budget: eventLoop.budget.value, turns: eventLoop.turns.value,
        client: client,
        isEncrypted: identity != nil,
        place: place))
  }

  private func resources(of channel: any Channel) -> EventLoopResources {
    guard let eventLoop = eventLoops.first(where: { $0.budget.eventLoop === channel.eventLoop }) else {
      preconditionFailure("a connection arrived on an event loop that has no push handler")  // Each loop has one.
    }
    return eventLoop
  }

  private func addTLS(to channel: any Channel, client: IPAddress?, _ eventLoop: EventLoopResources) throws {
    guard let identity else { return }
    // The handshake is charged to the client, unless the client is a proxy for many.
    let client = client.flatMap { shared.trusted.contains($0) ? nil : $0 }
    let (log, handshakes) = (log, handshakes)
    let peer = channel.remoteAddress?.ipAddress
    let certificate = identity.certificate
    let cost = HandshakeCost(
      turnOwner: client.map { .network($0.network) } ?? .connection(ObjectIdentifier(channel)),
      turns: eventLoop.handshakes.value,
      most: certificate.clientAuthorities == nil ? HandshakeCost.usualBytes : HandshakeCost.bytesWithCertificate
    ) {
      log.note(.handshakeTooLarge, peer: peer)
    } ended: { taken in
      let more = taken - certificate.keyKind.handshake
      if let client, more > .zero { handshakes.charge(client, more, at: .recent) }
    }
    try channel.pipeline.syncOperations.addHandlers([
      cost,
      NIOSSLServerHandler(context: identity.context),
      HandshakeDeadline(deadline: shared.deadlines.head, behind: cost) { log.note(.handshakeTooSlow, peer: peer) },
    ])
  }

  /// Turns away a connection over the limit.
  private func turnAway(_ channel: any Channel, client: IPAddress?) throws {
    log.note(.tooMany, peer: channel.remoteAddress?.ipAddress)
    guard connections.beginCourtesy() else { return try reset(channel) }
    let connections = connections
    channel.closeFuture.whenComplete { _ in connections.endCourtesy() }
    try addTLS(to: channel, client: client, resources(of: channel))
    try channel.pipeline.syncOperations.addHandler(TurnAwayHandler(shared: shared))
  }

  /// Ends a connection that isn't served, before or after it was set up.
  private func reset(_ channel: any Channel) throws {
    guard !channel.isActive else { return channel.reset() }
    channel.resetWhenClosed()
    throw TurnedAway()
  }

  private func refuseHeader(of channel: any Channel, _ message: Logger.Message, _ metadata: Logger.Metadata = [:]) {
    refusedHeaders.increment()
    lines.write(
      .warning, message,
      metadata.merging(["peer": "\(channel.remoteAddress?.ipAddress ?? "unknown")"]) { $1 }, to: logger)
  }
}

/// A connection isn't served; the log and the metrics have the reason.
struct TurnedAway: Error {}
