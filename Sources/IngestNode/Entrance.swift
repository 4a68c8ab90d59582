// What every connection to the push listener goes through before its first request: it is counted, a balancer's word on whose it is is heard, TLS
// begins, and then it is served, or turned away.

internal import ClientAddress
internal import KeyReplica
internal import KeyStore
internal import Logging
internal import Metrics
internal import NIOCore
internal import NIOSSL

/// What the connections of one event loop have in common.
struct Desk: Sendable {
  let gate: any PushGating
  let budget: NIOLoopBoundBox<ByteBudget>
}

/// Sets up connections.
struct Entrance: Sendable {
  /// One for each event loop.
  let desks: [Desk]
  let shared: PushFront
  let connections: ConnectionLimiter
  let identity: TLSIdentity?
  let expectsProxyHeader: Bool
  let logger: Logger
  private let lines = LineLimiter()
  private let refusedHeaders = Counter(label: "sluice_proxy_headers_refused_total")

  init(
    desks: [Desk], shared: PushFront, connections: ConnectionLimiter, identity: TLSIdentity?,
    expectsProxyHeader: Bool,
    logger: Logger
  ) {
    self.desks = desks
    self.shared = shared
    self.connections = connections
    self.identity = identity
    self.expectsProxyHeader = expectsProxyHeader
    self.logger = logger
  }

  /// On the channel's event loop, before anything is read from it.
  func receive(_ channel: any Channel) throws {
    let place = connections.enter()
    channel.closeFuture.assumeIsolated().whenComplete { _ in place?.giveBack() }
    // nil for a Unix socket.
    let peer = channel.remoteAddress?.ipAddress.flatMap { IPAddress(text: Array($0.utf8).span.bytes) }
    guard expectsProxyHeader, let place else { return try serve(channel, at: place, client: peer) }
    guard let peer, shared.trusted.contains(peer) else {
      return refuseHeader(of: channel, "it comes from an address that isn't a trusted proxy's", closing: true)
    }
    let loopBound = NIOLoopBound(channel, eventLoop: channel.eventLoop)
    try channel.pipeline.syncOperations.addHandler(
      ProxyHeaderHandler(
        deadline: shared.deadlines.head, refused: { self.refuseHeader(of: loopBound.value, $0, closing: false) },
        began: { source in try self.serve(loopBound.value, at: place, client: source ?? peer) }))
  }

  /// - Parameter place: nil for a connection that is one too many.
  private func serve(_ channel: any Channel, at place: ConnectionPlace?, client: IPAddress?) throws {
    let pipeline = channel.pipeline.syncOperations
    if let identity { try pipeline.addHandler(NIOSSLServerHandler(context: identity.context)) }
    guard let place, client.map({ place.claim($0) }) ?? true else {
      return try pipeline.addHandler(TurnAwayHandler(shared: shared))
    }
    guard let desk = desks.first(where: { $0.budget.eventLoop === channel.eventLoop }) else {
      preconditionFailure("a connection came on an event loop that has no gate")  // One is made for each loop.
    }
    try pipeline.addHandler(
      PushConnection(
        gate: desk.gate, shared: shared, budget: desk.budget.value, client: client, isEncrypted: identity != nil))
  }

  private func refuseHeader(of channel: any Channel, _ reason: String, closing: Bool) {
    refusedHeaders.increment()
    let (isAdmitted, unwritten) = lines.admit(at: .recent)
    if isAdmitted {
      logger.warning(
        "a connection is closed: it must begin as the PROXY protocol says",
        metadata: [
          "reason": "\(reason)", "peer": "\(channel.remoteAddress?.ipAddress ?? "unknown")",
          "unwritten": "\(unwritten)",
        ])
    }
    if closing { channel.close(promise: nil) }
  }
}
