// The listener that clients push to: accepts, hands each connection to its event loop's gate, and ends gracefully.

internal import Logging
internal import NIOCore
internal import NIOExtras
internal import NIOPosix
internal import ServiceLifecycle
internal import Synchronization

struct PushListener: Service {
  let host: String
  let port: Int
  let group: MultiThreadedEventLoopGroup
  /// One for each event loop of the group.
  let gates: [PushGate]
  let shared: PushFront
  let connections: ConnectionLimiter
  /// How many descriptors it may have open.
  let part: DescriptorPlan.Listener
  /// Bytes of bodies that each event loop may hold.
  let bytesPerLoop: ByteBudget.Limits
  /// nil where clients don't speak TLS, at least not with the node.
  let identity: TLSIdentity?
  /// Whether each connection begins with a header of the PROXY protocol.
  let expectsProxyHeader: Bool
  let logger: Logger
  /// How long the node goes on taking connections after it was told to end, so that balancers can notice that it isn't ready any more.
  let grace: TimeAmount
  /// How long connections may take to end after that.
  let stopDeadline: TimeAmount
  /// Told the address as soon as there is one.
  let listening: @Sendable (String) -> Void

  func run() async throws {
    let quiescing = ServerQuiescingHelper(group: group)
    let (connections, shared, logger, stopping, part) = (connections, shared, logger, shared.stopping, part)
    let (grace, stopDeadline) = (grace, stopDeadline)
    let entrance = Entrance(
      desks: gates.map { gate in
        Desk(
          gate: gate,
          budget: .makeBoxSendingValue(ByteBudget(bytesPerLoop), eventLoop: gate.eventLoop),
          turns: .makeBoxSendingValue(ConnectionTurns(on: gate.eventLoop), eventLoop: gate.eventLoop))
      }, shared: shared, connections: connections, identity: identity, expectsProxyHeader: expectsProxyHeader,
      logger: logger)
    let channel = try await ServerBootstrap(group: group)
      // As many as Linux allows by itself. After a restart all clients come at once, and who finds no room here tries again after a second.
      .serverChannelOption(.backlog, value: 4096)
      // In one turn of the loop up to 64, some milliseconds' worth; with NIO's 4 a loop that answers thousands is behind with accepting.
      .serverChannelOption(.maxMessagesPerRead, value: UInt(part.batch))
      .serverChannelOption(.socketOption(.so_reuseaddr), value: 1)
      // Connections inherit it.
      .serverChannelOption(.socketOption(.so_sndbuf), value: BufferSizes.kernelUnsent)
      .serverChannelInitializer { channel in
        channel.eventLoop.makeCompletedFuture {
          try channel.pipeline.syncOperations.addHandler(AcceptGate("push", part, logger: logger))
          try channel.pipeline.syncOperations.addHandler(quiescing.makeServerChannelHandler(channel: channel))
        }
      }
      .childChannelOption(.tcpOption(.tcp_nodelay), value: 1)
      // A connection can stop reading only between reads, so NIO's four in a row would be four times as much that it holds.
      .childChannelOption(.maxMessagesPerRead, value: 1)
      .childChannelOption(.recvAllocator, value: BufferSizes.ofStranger.reads)
      .childChannelOption(.writeBufferWaterMark, value: BufferSizes.ofStranger.unsent)
      // A client that has said all may still want its answers.
      .childChannelOption(.allowRemoteHalfClosure, value: true)
      .childChannelInitializer { channel in
        channel.eventLoop.makeCompletedFuture {
          try entrance.receive(channel)
        }.flatMapErrorThrowing { error in
          // NIO closes the connection and says nothing, so a client would see a reset and nobody would know why.
          logger.error("setting up a connection failed", metadata: ["reason": "\(error)"])
          throw error
        }
      }
      .bind(host: host, port: port).get()
    let address = ListeningAddress(channel).description
    listening(address)
    logger.notice("listening for pushes", metadata: ["address": "\(address)"])

    let ended = channel.eventLoop.makePromise(of: Void.self)
    channel.closeFuture.whenComplete { _ in
      // Closing is the first step of a graceful stop, and a failure of the node at any other time.
      if !stopping.isSet { ended.fail(ListenerClosed()) }
    }
    let end: @Sendable (TimeAmount) -> Void = { grace in
      stopping.set()
      channel.eventLoop.scheduleTask(in: grace) {
        logger.notice("no longer accepting connections; finishing requests in flight")
        quiescing.initiateShutdown(promise: ended)
      }
      channel.eventLoop.scheduleTask(in: grace + stopDeadline) {
        if connections.current > 0 {
          logger.warning("connections closed at the stop deadline", metadata: ["connections": "\(connections.current)"])
        }
        ended.succeed()
      }
    }
    try await withTaskCancellationHandler {
      try await withGracefulShutdownHandler {
        try await ended.futureResult.get()
      } onGracefulShutdown: {
        logger.notice("shutting down: /readyz answers 503, connections close after their next response")
        end(grace)
      }
    } onCancel: {
      // Another part of the node has failed, and balancers may not be able to ask any more: nobody would notice however long it waited.
      logger.error("shutting down: another service of this process failed")
      end(.zero)
    }
    for gate in gates { try await gate.drain() }
    logger.notice("every accepted payload has been answered")
  }
}

private struct ListenerClosed: Error, CustomStringConvertible {
  var description: String { "the listening socket closed by itself" }
}

/// Whether the node is ending, for all threads.
final class StopFlag: Sendable {
  private let flag = Atomic<Bool>(false)
  private let moment = Mutex<ContinuousClock.Instant?>(nil)
  var isSet: Bool { flag.load(ordering: .relaxed) }
  /// When it was told so; nil where it wasn't.
  var since: ContinuousClock.Instant? { moment.withLock { $0 } }

  func set() {
    moment.withLock { $0 = $0 ?? .now }
    flag.store(true, ordering: .relaxed)
  }
}
