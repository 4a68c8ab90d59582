// The listener that clients push to: accepts, hands each connection to its event loop's gate, and ends gracefully.

internal import Listening
internal import Logging
internal import NIOCore
internal import NIOPosix
internal import ServiceLifecycle
internal import Synchronization

struct PushListener: Service {
  let host: String
  let port: Int
  let group: MultiThreadedEventLoopGroup
  /// One for each event loop of the group.
  let gates: [PushHandler]
  let shared: ListenerContext
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
    let (connections, shared, logger, stopping) = (connections, shared, logger, shared.stopping)
    let (grace, stopDeadline, group) = (grace, stopDeadline, group)
    let setup = ConnectionSetup(
      eventLoops: gates.map { gate in
        EventLoopResources(
          gate: gate,
          budget: .makeBoxSendingValue(ByteBudget(bytesPerLoop), eventLoop: gate.eventLoop),
          turns: .makeBoxSendingValue(ConnectionTurns(on: gate.eventLoop), eventLoop: gate.eventLoop))
      }, shared: shared, connections: connections, identity: identity, expectsProxyHeader: expectsProxyHeader,
      logger: logger)
    let acceptor = try await CannotListen.explain("--listen", host: host, port: port) {
      try Acceptor("push", at: host, port: port, part, logger: logger)
    }
    let open = OpenConnections()
    let ended = group.next().makePromise(of: Void.self)
    acceptor.start(
      Acceptor.Handlers(
        admits: { setup.admits($0, waiting: open.coming) },
        receiver: {
          let bootstrap = ClientBootstrap(group: group)
            // A connection can stop reading only between reads, so NIO's four in a row would be four times as much that
            // it holds.
            .channelOption(.maxMessagesPerRead, value: 1)
            .channelOption(.recvAllocator, value: BufferSizes.ofStranger.reads)
            .channelOption(.writeBufferWaterMark, value: BufferSizes.ofStranger.unsent)
            // A client that has said all may still want its answers.
            .channelOption(.allowRemoteHalfClosure, value: true)
            .channelInitializer { channel in
              channel.eventLoop.makeCompletedFuture {
                do {
                  try setup.receive(channel)
                } catch let error as TurnedAway {
                  // Said and counted by whoever turned it away.
                  throw error
                } catch {
                  // NIO closes the connection and says nothing, so a client would see a reset and nobody would know
                  // why.
                  logger.error("setting up a connection failed", metadata: ["reason": "\(error)"])
                  throw error
                }
              }
            }
          return { socket in
            open.expect()
            bootstrap.withConnectedSocket(socket).whenComplete { result in
              switch result {
              case .success(let channel):
                open.add(channel)
                channel.closeFuture.whenComplete { _ in acceptor.connectionEnded() }
              case .failure:
                // It was turned away, or its client went away at once. NIO has closed it.
                acceptor.connectionEnded()
                open.cameToNothing()
              }
            }
          }
        },
        ended: { error in
          // Closing is the first step of a graceful stop, and a failure of the node at any other time.
          if let error { ended.fail(error) } else { open.end(ended) }
        }))
    listening(acceptor.address)
    logger.notice("listening for pushes", metadata: ["address": "\(acceptor.address)"])

    let end: @Sendable (TimeAmount) -> Void = { grace in
      stopping.set()
      ended.futureResult.eventLoop.scheduleTask(in: grace) {
        logger.notice("no longer accepting connections; finishing requests in flight")
        acceptor.stop()
      }
      ended.futureResult.eventLoop.scheduleTask(in: grace + stopDeadline) {
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
