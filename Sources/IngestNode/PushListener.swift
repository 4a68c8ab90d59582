// The listener that clients push to: accepts, hands each connection to its event loop's gate, and ends gracefully.

internal import Logging
internal import NIOCore
internal import NIOExtras
internal import NIOHTTP1
internal import NIOPosix
internal import ServiceLifecycle
internal import Synchronization

struct PushListener: Service {
  let host: String
  let port: Int
  let group: MultiThreadedEventLoopGroup
  /// One for each event loop of the group.
  let gates: [PushGate]
  let limits: ConnectionLimits
  let connectionLimit: Int
  let counters: AnswerCounters
  let logger: Logger
  /// How long connections may take to end when the node does.
  let stopDeadline: TimeAmount
  /// Set when the node begins to end: it isn't ready any more from then on.
  let stopping: StopFlag
  /// Told the address as soon as there is one.
  let listening: @Sendable (String) -> Void

  func run() async throws {
    let quiescing = ServerQuiescingHelper(group: group)
    let connections = ConnectionCount(limit: connectionLimit)
    let gates = gates
    let limits = limits
    let counters = counters
    let logger = logger
    let stopDeadline = stopDeadline
    let stopping = stopping
    let channel = try await ServerBootstrap(group: group)
      .serverChannelOption(.backlog, value: 1024)
      .serverChannelOption(.socketOption(.so_reuseaddr), value: 1)
      .serverChannelInitializer { channel in
        channel.eventLoop.makeCompletedFuture {
          try channel.pipeline.syncOperations.addHandler(quiescing.makeServerChannelHandler(channel: channel))
        }
      }
      .childChannelOption(.tcpOption(.tcp_nodelay), value: 1)
      .childChannelInitializer { channel in
        channel.eventLoop.makeCompletedFuture {
          guard connections.enter() else { throw TooManyConnections() }
          channel.closeFuture.whenComplete { _ in connections.leave() }
          guard let gate = gates.first(where: { $0.eventLoop === channel.eventLoop }) else {
            preconditionFailure("a connection came on an event loop that has no gate")  // One is made for each loop.
          }
          try channel.pipeline.syncOperations.addHandler(IdleStateHandler(readTimeout: limits.idle))
          try channel.pipeline.syncOperations.configureHTTPServerPipeline(withErrorHandling: true)
          try channel.pipeline.syncOperations.addHandler(
            PushChannelHandler(gate: gate, limits: limits, counters: counters))
        }.flatMapErrorThrowing { error in
          // NIO closes the connection and says nothing, so a client would see a reset and nobody would know why.
          if !(error is TooManyConnections) {
            logger.error("a connection could not be served", metadata: ["reason": "\(error)"])
          }
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
    try await withGracefulShutdownHandler {
      try await ended.futureResult.get()
    } onGracefulShutdown: {
      logger.notice("no longer accepting; answering what is in flight")
      stopping.set()
      channel.eventLoop.scheduleTask(in: stopDeadline) {
        if connections.current > 0 {
          logger.warning("some connections didn't end in time", metadata: ["connections": "\(connections.current)"])
        }
        ended.succeed()
      }
      quiescing.initiateShutdown(promise: ended)
    }
    for gate in gates { try await gate.drain() }
    logger.notice("every payload that was taken has been answered")
  }
}

private struct ListenerClosed: Error, CustomStringConvertible {
  var description: String { "the listening socket closed by itself" }
}

/// Whether the node is ending, for all threads.
final class StopFlag: Sendable {
  private let flag = Atomic<Bool>(false)
  var isSet: Bool { flag.load(ordering: .relaxed) }
  func set() { flag.store(true, ordering: .relaxed) }
}

private struct TooManyConnections: Error {}

private final class ConnectionCount: Sendable {
  private let limit: Int
  private let count = Atomic<Int>(0)

  init(limit: Int) { self.limit = limit }

  var current: Int { count.load(ordering: .relaxed) }

  func enter() -> Bool {
    if count.add(1, ordering: .relaxed).newValue <= limit { return true }
    leave()
    return false
  }

  func leave() { count.subtract(1, ordering: .relaxed) }
}
