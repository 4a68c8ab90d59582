// The HTTP listener for operators, and for applications that publish keys. Pushes have a separate listener.
//
// Hummingbird handles HTTP and routes requests, behind our own listener, as for pushes. Hummingbird's own server has no
// limit on the number or the age of connections. It waits for ever for a client that it answered 400, and ends when a
// connection can't be accepted.

internal import ClientAddress
package import HummingbirdCore
internal import KeyStore
package import Logging
package import NIOCore
internal import NIOExtras
package import NIOPosix
internal import NIOSSL
internal import ServiceLifecycle

package struct HTTPListener: Service {
  /// As Hummingbird's `HTTPChannelHandler.Responder`.
  package typealias Responder =
    @concurrent @Sendable (Request, consuming ResponseWriter, any Channel) async throws -> Void

  package struct Configuration: Sendable {
    /// The listener's name for the log and the metrics, such as `admin`.
    package var name: String
    /// The intended clients, for the log, such as `operators`.
    package var purpose: String
    /// The option that sets the listener's address, for the error if the listener can't be opened.
    package var option: String
    package var host: String
    /// With port 0 the system chooses a port.
    package var port: Int
    /// The listener's share of descriptors. If it is used up, a new connection replaces the oldest one of the client
    /// with the most connections.
    package var part: ListenerPart
    package var deadlines = HTTPDeadlines()
    /// Bytes of one read from a connection. This limits the requests that a client sends ahead: all requests of a read
    /// are parsed at once, and the next read waits for their answers. Parsed requests take many times the memory. NIO
    /// also looks at no socket until all of them are answered, because answers are tasks of the event loop.
    package var readSize: Int
    /// Charged to the client for each connection without TLS. A client has a quarter of a second in each second. With
    /// TLS the time of a handshake is charged, see ``ServerKeyKind/handshake``.
    package var connectionCost: Duration
    /// The listener's certificate; nil without TLS.
    package var identity: TLSIdentity?

    package init(
      name: String, purpose: String, option: String, host: String, port: Int, part: ListenerPart, readSize: Int,
      connectionCost: Duration
    ) {
      self.name = name
      self.purpose = purpose
      self.option = option
      self.host = host
      self.port = port
      self.part = part
      self.readSize = readSize
      self.connectionCost = connectionCost
    }
  }

  private let configuration: Configuration
  private let group: MultiThreadedEventLoopGroup
  private let logger: Logger
  private let listening: @Sendable (String) -> Void
  private let responder: Responder

  /// - Parameters:
  ///   - listening: Called with the address once the listener is open.
  ///   - responder: Answers a request.
  package init(
    _ configuration: Configuration, group: MultiThreadedEventLoopGroup, logger: Logger,
    listening: @escaping @Sendable (String) -> Void, responder: @escaping Responder
  ) {
    self.configuration = configuration
    self.group = group
    self.logger = logger
    self.listening = listening
    self.responder = responder
  }

  /// Answers requests until the process ends.
  /// - Throws: The error that kept it from listening, or ended it.
  package func run() async throws {
    var warnings = logger
    warnings.logLevel = .warning
    let quiet = warnings
    let http = HTTP1Channel(
      responder: responder,
      configuration: HTTP1Channel.Configuration(
        httpDecoderConfiguration: .init(
          maxHeaderFieldSize: 8 << 10, maxHeaderListSize: 16 << 10, maxHeaderFieldCount: 100)
      ))
    let quiescing = ServerQuiescingHelper(group: group)
    let (configuration, logger) = (configuration, logger)
    let (name, part, deadlines) = (configuration.name, configuration.part, configuration.deadlines)
    let connections = ConnectionLimiter(limit: part.connections, courtesies: 0)
    let rate = ConnectionRate()
    let log = ConnectionLog(name, logger: logger)
    let bootstrap = ServerBootstrap(group: group)
      .serverChannelOption(.backlog, value: 4096)
      .serverChannelOption(.maxMessagesPerRead, value: UInt(part.batch))
      .serverChannelOption(.socketOption(.so_reuseaddr), value: 1)
      .serverChannelInitializer { channel in
        channel.eventLoop.makeCompletedFuture {
          try channel.pipeline.syncOperations.addHandler(AcceptGate(name, part, logger: logger))
          try channel.pipeline.syncOperations.addHandler(quiescing.makeServerChannelHandler(channel: channel))
        }
      }
      .childChannelOption(.tcpOption(.tcp_nodelay), value: 1)
      .childChannelOption(.maxMessagesPerRead, value: 1)
      .childChannelOption(.recvAllocator, value: FixedSizeRecvByteBufferAllocator(capacity: configuration.readSize))
      .childChannelOption(.allowRemoteHalfClosure, value: true)
      .childChannelInitializer { channel in
        let peer = channel.remoteAddress?.ipAddress
        let address = peer.flatMap { IPAddress(text: Array($0.utf8).span.bytes) }
        let certificate = configuration.identity?.certificate
        // Beginning a connection costs more than answering its request. One client's connections mustn't use the time
        // that other clients need.
        let cost = certificate?.keyKind.handshake ?? configuration.connectionCost
        if let address, !rate.admit(address, costing: cost, at: .recent) {
          log.note(certificate == nil ? .tooMany : .tooManyHandshakes, peer: peer)
          channel.reset()
          return channel.eventLoop.makeSucceededVoidFuture()
        }
        let place = connections.enter(from: address) {
          log.note(.evicted, peer: peer)
          channel.eventLoop.execute { channel.reset() }
        }
        guard let place else {
          log.note(.tooMany, peer: peer)
          channel.reset()
          return channel.eventLoop.makeSucceededVoidFuture()
        }
        channel.closeFuture.assumeIsolated().whenComplete { _ in place.giveBack() }
        do {
          // TLS comes before the deadlines' handler, which doesn't see the handshake's bytes. So the handshake counts
          // as part of the first request.
          if let certificate {
            try channel.pipeline.syncOperations.addHandler(NIOSSLServerHandler(context: certificate.context))
          }
          try channel.pipeline.syncOperations.addHandler(HTTPDeadlineHandler(deadlines) { place.expose() })
        } catch {
          return channel.eventLoop.makeFailedFuture(error)
        }
        return http.setup(channel: channel, logger: quiet).map { connection in
          // The task ends with the connection.
          Task { await http.handle(value: connection, logger: quiet) }
        }
      }
    let channel = try await CannotListen.explain(
      configuration.option, host: configuration.host, port: configuration.port
    ) {
      try await bootstrap.bind(host: configuration.host, port: configuration.port).get()
    }
    let address = ListeningAddress(channel).description
    logger.notice("listening for \(configuration.purpose)", metadata: ["address": "\(address)"])
    listening(address)

    // Requests in progress are still answered; each connection has its deadlines.
    try await ListenerLifetime.wait(for: channel, endedBy: quiescing, purpose: configuration.purpose)
  }
}
