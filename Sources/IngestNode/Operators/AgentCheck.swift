// Answers HAProxy's agent-check: whoever connects is sent one line, and that is all. It is apart from readiness, which has two values:
// a weight lets a balancer prefer nodes that are up to date and still keep those that can just admit, so that a fault of the
// store everywhere doesn't empty the pool. It has a port of its own because the protocol has no request; an HTTP path
// couldn't be asked.
//
// What a client sends (`agent-send`) is read and thrown away, never looked at: closing a socket with unread bytes in it resets the
// connection, and the line might be lost. No answer is a harmless answer: HAProxy then leaves the server as it is.

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
  /// 0 lets the system choose.
  let port: Int
  let group: MultiThreadedEventLoopGroup
  /// How many descriptors it may have open. More than so many connections at once are closed without an answer.
  var part = DescriptorPlan.Listener(connections: 64, courtesies: 0, batch: 4)
  /// How long one may take altogether, from being accepted to being closed. HAProxy's own patience is `agent-inter`, 2 s by
  /// default.
  var deadline = TimeAmount.seconds(2)
  let logger: Logger
  /// Told the address as soon as there is one.
  let listening: @Sendable (String) -> Void
  /// Asked for each connection; cancelled where it takes too long.
  let state: @Sendable () async -> AgentState

  /// Answers until the node ends: to be ended after the pushes are, so that balancers are told to drain until then.
  /// - Throws: What kept it from listening, or ended it.
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
      // One that shuts its side down at once still gets its line.
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
          // As long as it is asking: a question that nobody waits for any more is work all the same.
          place.protect()
          // Begun here, so that there is one place that knows both when the connection and when the question has ended.
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

    // Those who are asking still get their answer; each has its deadline.
    try await ListenerLifetime.wait(for: channel, endedBy: quiescing, purpose: "agent checks")
  }

  /// Writes to the log when the answer changes; there are too many to write each.
  final class LastLine: Sendable {
    private let line = Mutex("")
    private let logger: Logger

    init(logger: Logger) { self.logger = logger }

    func note(_ new: String) {
      let old = line.withLock { line in
        defer { line = new }
        return line
      }
      if old != new {
        logger.notice("agent-check answer changed", metadata: ["answer": "\(new.dropLast())"])
      }
    }
  }
}

/// One connection: the line, the end of our side, and then whatever comes until the other side has ended too.
private final class AgentCheckHandler: ChannelInboundHandler {
  typealias InboundIn = ByteBuffer
  typealias OutboundOut = ByteBuffer

  /// Who sends more than this doesn't speak our protocol. In bytes.
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
    said.note(state.line)
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
    // A client that went away. There is nobody to tell.
    context.close(promise: nil)
  }

  func channelInactive(context: ChannelHandlerContext) {
    late?.cancel()
    context.fireChannelInactive()
  }
}
