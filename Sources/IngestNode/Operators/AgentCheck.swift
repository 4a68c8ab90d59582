// Answers HAProxy's agent-check: each connection gets one line and is closed. Readiness has only two values. A weight
// lets a load balancer prefer nodes that are up to date, and still keep nodes that can only admit. So a fault of the
// store for all nodes doesn't empty the pool. The check needs a separate port, because its protocol has no request and
// so no path.
//
// Bytes from the client (`agent-send`) are read and discarded: closing a socket with unread bytes resets the
// connection, and the line might be lost. A missing answer does no harm: HAProxy leaves the server's state unchanged.

import ClientAddress
import Listening
import Logging
import NIOCore
import NIOExtras
import NIOPosix
import ServiceLifecycle
import Synchronization

/// The listener for agent checks.
struct AgentCheck: Service {
  let host: String
  /// 0 lets the system choose a port.
  let port: Int
  let group: MultiThreadedEventLoopGroup
  /// The listener's share of descriptors. Connections over its maximum are closed without an answer.
  var part = DescriptorPlan.Listener(connections: 64, courtesies: 0, batch: 4)
  /// Maximum time of a connection, from being accepted to being closed. HAProxy itself waits for `agent-inter`, 2 s by
  /// default.
  var deadline = TimeAmount.seconds(2)
  let logger: Logger
  /// Called with the address once the listener is open.
  let listening: @Sendable (String) -> Void
  /// Called for each connection, and cancelled if it takes too long.
  let state: @Sendable () async -> AgentState

  /// Answers until the node ends. It must end after the push listener, so that load balancers get "drain" until then.
  /// - Throws: The error that kept it from listening, or ended it.
  func run() async throws {
    let quiescing = ServerQuiescingHelper(group: group)
    let connections = ConnectionLimiter(limit: part.connections, courtesies: 0)
    let (deadline, state, logger, part) = (deadline, state, logger, part)
    let log = ConnectionLog("agent_check", logger: logger)
    let said = LastLine(logger: logger)
    let bootstrap = ServerBootstrap(group: group)
      .serverChannelOption(.backlog, value: 128)
      .serverChannelOption(.maxMessagesPerRead, value: UInt(part.batch))
      .serverChannelOption(.socketOption(.so_reuseaddr), value: 1)
      .serverChannelInitializer { channel in
        channel.eventLoop.makeCompletedFuture {
          try channel.pipeline.syncOperations.addHandler(AcceptGate("agent_check", part, logger: logger))
          try channel.pipeline.syncOperations.addHandler(quiescing.makeServerChannelHandler(channel: channel))
        }
      }
      .childChannelOption(.tcpOption(.tcp_nodelay), value: 1)
      // A client that closes its sending side at once still gets its line.
      .childChannelOption(.allowRemoteHalfClosure, value: true)
      .childChannelInitializer { channel in
        channel.eventLoop.makeCompletedFuture {
          let peer = channel.remoteAddress?.ipAddress
          let address = peer.flatMap { IPAddress(text: Array($0.utf8).span.bytes) }
          let place = connections.enter(from: address) {
            log.note(.evicted, peer: peer)
            channel.eventLoop.execute { channel.reset() }
          }
          guard let place else {
            log.note(.tooMany, peer: peer)
            return channel.close(promise: nil)
          }
          // While the node's state is being determined, this connection isn't closed to make room for another one.
          // Closing it would save nothing: the work goes on without it.
          place.protect()
          // The task begins here, because this code knows when the connection has ended and when the task has ended.
          let answer = channel.eventLoop.makePromise(of: AgentState.self)
          let question = Task { answer.succeed(await state()) }
          channel.closeFuture.whenComplete { _ in question.cancel() }
          answer.futureResult.assumeIsolated().whenComplete { _ in place.expose() }
          channel.closeFuture.and(answer.futureResult).assumeIsolated().whenComplete { _ in place.giveBack() }
          try channel.pipeline.syncOperations.addHandler(
            AgentCheckHandler(answer: answer.futureResult, deadline: deadline, said: said))
        }
      }
    let channel = try await CannotListen.explain("--agent-check", host: host, port: port) {
      try await bootstrap.bind(host: host, port: port).get()
    }
    let address = ListeningAddress(channel).description
    logger.notice("listening for agent checks", metadata: ["address": "\(address)"])
    listening(address)

    // Connections in progress still get their answer; each has its deadline.
    try await ListenerLifetime.wait(for: channel, endedBy: quiescing, purpose: "agent checks")
  }

  /// Logs the answer when it changes. Logging each answer would be too much.
  final class LastLine: Sendable {
    private let line = Mutex<String?>(nil)
    private let logger: Logger

    init(logger: Logger) { self.logger = logger }

    func note(_ state: AgentState) {
      let new = state.line
      let old = line.withLock { line in
        defer { line = new }
        return line
      }
      guard old != new else { return }
      var metadata: Logger.Metadata = ["answer": "\(new.dropLast())"]
      if let old { metadata["was"] = "\(old.dropLast())" }
      if let reason = state.reason { metadata["reason"] = "\(reason)" }
      logger.notice("agent-check answer changed", metadata: metadata)
    }
  }
}

/// One connection: writes the line, closes the sending side, and then discards all input until the client has closed
/// its side too.
private final class AgentCheckHandler: ChannelInboundHandler {
  typealias InboundIn = ByteBuffer
  typealias OutboundOut = ByteBuffer

  /// Maximum bytes from a client. A client that sends more doesn't use this protocol.
  private static let inputLimit = 1 << 16

  private let answer: EventLoopFuture<AgentState>
  private let deadline: TimeAmount
  private let said: AgentCheck.LastLine
  private var late: Scheduled<Void>?
  private var received = 0
  private var written = false
  private var inputClosed = false

  init(answer: EventLoopFuture<AgentState>, deadline: TimeAmount, said: AgentCheck.LastLine) {
    self.answer = answer
    self.deadline = deadline
    self.said = said
  }

  func channelActive(context: ChannelHandlerContext) {
    late = context.eventLoop.assumeIsolated().scheduleTask(in: deadline) { context.close(promise: nil) }
    answer.assumeIsolated().whenSuccess { self.write($0, context) }
    context.fireChannelActive()
  }

  private func write(_ state: AgentState, _ context: ChannelHandlerContext) {
    guard context.channel.isActive else { return }
    said.note(state)
    context.writeAndFlush(wrapOutboundOut(ByteBuffer(string: state.line))).assumeIsolated().whenSuccess {
      self.written = true
      if self.inputClosed {
        context.close(promise: nil)
      } else {
        context.close(mode: .output, promise: nil)
      }
    }
  }

  func channelRead(context: ChannelHandlerContext, data: NIOAny) {
    received += unwrapInboundIn(data).readableBytes
    if received > Self.inputLimit { context.close(promise: nil) }
  }

  func userInboundEventTriggered(context: ChannelHandlerContext, event: Any) {
    if case ChannelEvent.inputClosed = event {
      inputClosed = true
      if written { context.close(promise: nil) }
    }
    context.fireUserInboundEventTriggered(event)
  }

  func errorCaught(context: ChannelHandlerContext, error: any Error) {
    // The client has disconnected, so nobody gets an answer.
    context.close(promise: nil)
  }

  func channelInactive(context: ChannelHandlerContext) {
    late?.cancel()
    context.fireChannelInactive()
  }
}
