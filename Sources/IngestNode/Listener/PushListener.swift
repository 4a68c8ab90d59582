// The listener for pushes. It accepts connections, assigns each to an event loop with its `PushHandler`, and ends
// gracefully.

internal import Listening
internal import Logging
internal import NIOCore
internal import NIOPosix
internal import ServiceLifecycle

struct PushListener: Service {
  let host: String
  let port: Int
  let group: MultiThreadedEventLoopGroup
  /// One for each event loop of the group.
  let gates: [PushHandler]
  let shared: ListenerContext
  let connections: ConnectionLimiter
  /// The listener's share of descriptors.
  let part: DescriptorPlan.Listener
  /// Maximum bytes of bodies for each event loop.
  let bytesPerLoop: ByteBudget.Limits
  /// nil if the node doesn't terminate TLS.
  let identity: TLSIdentity?
  /// Whether each connection begins with a header of the PROXY protocol.
  let expectsProxyHeader: Bool
  let logger: Logger
  /// Time after the signal in which the node still accepts connections, so that load balancers can notice that it isn't
  /// ready any more.
  let grace: TimeAmount
  /// Maximum time after that for connections to end.
  let stopDeadline: TimeAmount
  /// Called with the address once the listener is open.
  let listening: @Sendable (String) -> Void

  func run() async throws {
    let (connections, shared, logger, stopping) = (connections, shared, logger, shared.stopping)
    let (grace, stopDeadline, group) = (grace, stopDeadline, group)
    let setup = ConnectionSetup(
      eventLoops: gates.map { gate in
        EventLoopResources(
          gate: gate,
          budget: .makeBoxSendingValue(ByteBudget(bytesPerLoop), eventLoop: gate.eventLoop),
          turns: .makeBoxSendingValue(ConnectionTurns(on: gate.eventLoop), eventLoop: gate.eventLoop),
          handshakes: .makeBoxSendingValue(HandshakeTurns(on: gate.eventLoop), eventLoop: gate.eventLoop))
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
            // A connection can stop reading only between reads. With NIO's four reads in a row it would hold four times
            // as much.
            .channelOption(.maxMessagesPerRead, value: 1)
            .channelOption(.recvAllocator, value: BufferSizes.ofStranger.reads)
            .channelOption(.writeBufferWaterMark, value: BufferSizes.ofStranger.unsent)
            // A client that has closed its sending side may still want its answers.
            .channelOption(.allowRemoteHalfClosure, value: true)
            .channelInitializer { channel in
              channel.eventLoop.makeCompletedFuture {
                do {
                  try setup.receive(channel)
                } catch let error as TurnedAway {
                  // The function that turned it away has logged and counted this.
                  throw error
                } catch {
                  // NIO closes the connection without a log line. The client would see a reset without any known
                  // reason.
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
                // The connection was turned away, or the client disconnected at once. NIO has closed it.
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
      // Another part of the node has failed. Load balancers may not get answers to their checks any more, so a grace
      // period would be useless.
      logger.error("shutting down: another service of this process failed")
      end(.zero)
    }
    for gate in gates { try await gate.drain() }
    logger.notice("all pushes in flight have been answered")
  }
}
