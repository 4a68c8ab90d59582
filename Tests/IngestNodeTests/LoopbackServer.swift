// Connections on real sockets: the handler as the listener puts it into a pipeline, with the same options, before a
// push handler that a test scripts. And a client that reads when it is told to.

import ClientAddress
import Foundation
import HTTPFraming
import Logging
import NIOCore
import NIOPosix
import RedisFixture
import Synchronization

@testable import IngestNode
@testable import Listening

/// A listener on loopback for as long as a test runs.
final class LoopbackServer: Sendable {
  /// Buffer size of all sockets here, in bytes: the system's default is megabytes, which take long to fill.
  static let kernelBuffer: SocketOptionValue = 32 << 10

  let gate: ScriptedGate
  let limiter: ConnectionLimiter
  private let listener: any Channel
  private let budget: NIOLoopBoundBox<ByteBudget>
  private let served: Served

  private final class Served: Sendable {
    let channels = Mutex<[any Channel]>([])
  }

  private init(
    limiter: ConnectionLimiter, deadlines: PhaseDeadlines, identity: TLSIdentity?, handshakes: ConnectionRate,
    on loop: any EventLoop
  ) async throws {
    let shared = ListenerContext(
      limits: RequestLimits(), deadlines: deadlines, dialects: Dialects.all, counters: AnswerCounters(Dialects.all),
      stopping: StopFlag(), trusted: .none, batches: BatchCounter { $0() })
    let gate = ScriptedGate(on: loop)
    gate.script("good", .admits(account: "acme"))
    let budget = NIOLoopBoundBox.makeBoxSendingValue(ByteBudget(.init(1 << 20)), eventLoop: loop)
    let turns = NIOLoopBoundBox.makeBoxSendingValue(ConnectionTurns(on: loop), eventLoop: loop)
    let handshakeTurns = NIOLoopBoundBox.makeBoxSendingValue(HandshakeTurns(on: loop), eventLoop: loop)
    let setup = ConnectionSetup(
      eventLoops: [EventLoopResources(gate: gate, budget: budget, turns: turns, handshakes: handshakeTurns)],
      shared: shared, connections: limiter, identity: identity,
      expectsProxyHeader: false, handshakes: handshakes, logger: Logger(label: "tests"))
    let served = Served()
    listener = try await ServerBootstrap(group: loop)
      .childChannelOption(.tcpOption(.tcp_nodelay), value: 1)
      .childChannelOption(.allowRemoteHalfClosure, value: true)
      .childChannelOption(.socketOption(.so_sndbuf), value: LoopbackServer.kernelBuffer)
      .childChannelOption(.socketOption(.so_rcvbuf), value: LoopbackServer.kernelBuffer)
      .childChannelInitializer { channel in
        channel.eventLoop.makeCompletedFuture {
          try setup.receive(channel)
          served.channels.withLock { $0.append(channel) }
        }
      }
      .bind(host: "127.0.0.1", port: 0).get()
    self.gate = gate
    self.limiter = limiter
    self.budget = budget
    self.served = served
  }

  /// Runs a test's body with a listener and ends both.
  static func with(
    limiter: ConnectionLimiter = ConnectionLimiter(limit: 100, limitByAddress: 100),
    deadlines: PhaseDeadlines = PhaseDeadlines(), identity: TLSIdentity? = nil,
    handshakes: ConnectionRate = ConnectionRate(),
    _ body: (LoopbackServer) async throws -> Void
  ) async throws {
    let group = MultiThreadedEventLoopGroup(numberOfThreads: 1)
    let server = try await LoopbackServer(
      limiter: limiter, deadlines: deadlines, identity: identity, handshakes: handshakes, on: group.next())
    let outcome: Result<Void, any Error>
    do { outcome = .success(try await body(server)) } catch { outcome = .failure(error) }
    for channel in server.connections { channel.close(promise: nil) }
    while server.gate.say() {}
    try await server.listener.close()
    try await group.shutdownGracefully()
    try outcome.get()
  }

  /// Connects, and waits to be closed without a word. That may be before the client knows that it is connected.
  func connectionIsReset() async throws -> Bool {
    do {
      let client = try await connect()
      try await eventually("it is closed") { client.isReset }
      return client.stream.isEmpty
    } catch let error as IOError where error.errnoCode == ECONNRESET {
      return true
    }
  }

  /// All connections that were served, in order.
  var connections: [any Channel] { served.channels.withLock { $0 } }
  var budgetUsed: Int {
    get async throws { try await listener.eventLoop.submit { self.budget.value.used }.get() }
  }

  /// What serves a connection.
  func handler(ofConnection index: Int) async throws -> ServedConnection {
    let channel = connections[index]
    return try await channel.eventLoop.submit {
      let handler = try channel.pipeline.syncOperations.handler(type: PushConnection.self)
      return ServedConnection(handler: NIOLoopBound(handler, eventLoop: channel.eventLoop))
    }.get()
  }

  func connect(readsAtOnce: Bool = true) async throws -> LoopbackClient {
    guard let address = listener.localAddress else { throw ChannelError.unknownLocalAddress }
    return try await LoopbackClient(address, readsAtOnce: readsAtOnce, on: listener.eventLoop)
  }
}

/// A connection's handler, to be looked into.
struct ServedConnection: Sendable {
  fileprivate let handler: NIOLoopBound<PushConnection>

  /// Gives its place away, as the limiter does.
  func giveWay() async throws { try await handler.eventLoop.submit { handler.value.giveWay() }.get() }

  /// Whether it would write to its socket itself.
  var holdsSocket: Bool {
    get async throws { try await handler.eventLoop.submit { handler.value.socket != nil }.get() }
  }
}

/// A client's socket.
final class LoopbackClient: Sendable {
  private final class Collector: ChannelInboundHandler, Sendable {
    typealias InboundIn = ByteBuffer
    let received = Mutex<[UInt8]>([])
    let isEnded = Atomic(false)
    let isReset = Atomic(false)

    func channelRead(context: ChannelHandlerContext, data: NIOAny) {
      let bytes = unwrapInboundIn(data)
      received.withLock { $0 += bytes.readableBytesView }
    }

    func userInboundEventTriggered(context: ChannelHandlerContext, event: Any) {
      if case ChannelEvent.inputClosed = event { isEnded.store(true, ordering: .releasing) }
    }

    func channelInactive(context: ChannelHandlerContext) { isEnded.store(true, ordering: .releasing) }

    func errorCaught(context: ChannelHandlerContext, error: any Error) {
      isReset.store(true, ordering: .releasing)
      context.close(promise: nil)
    }
  }

  private let channel: any Channel
  private let collector = Collector()
  private let sent = Atomic(0)

  fileprivate init(_ address: SocketAddress, readsAtOnce: Bool, on loop: any EventLoop) async throws {
    let collector = collector
    channel = try await ClientBootstrap(group: loop)
      .channelOption(.allowRemoteHalfClosure, value: true)
      .channelOption(.socketOption(.so_sndbuf), value: LoopbackServer.kernelBuffer)
      .channelOption(.socketOption(.so_rcvbuf), value: LoopbackServer.kernelBuffer)
      .channelOption(.autoRead, value: readsAtOnce)
      .channelInitializer { channel in
        channel.eventLoop.makeCompletedFuture { try channel.pipeline.syncOperations.addHandler(collector) }
      }
      .connect(to: address).get()
  }

  /// Sends without waiting for it.
  func send(_ text: String) {
    channel.writeAndFlush(ByteBuffer(string: text)).whenSuccess {
      self.sent.add(text.utf8.count, ordering: .relaxed)
    }
  }

  /// How many bytes the kernel has taken, of writings that it took as a whole.
  var sentBytes: Int { sent.load(ordering: .relaxed) }

  func halfClose() { channel.close(mode: .output, promise: nil) }

  /// Goes away without a goodbye.
  func reset() async throws {
    guard let socket = channel as? any SocketOptionProvider else { throw ChannelError.operationUnsupported }
    try await socket.setSoLinger(linger(l_onoff: 1, l_linger: 0)).get()
    try await channel.close()
  }

  func read() async throws { try await channel.setOption(.autoRead, value: true).get() }

  /// Whether the node sends nothing more.
  var isEnded: Bool { collector.isEnded.load(ordering: .acquiring) }

  /// Whether the connection broke.
  var isReset: Bool { collector.isReset.load(ordering: .acquiring) }

  var stream: [UInt8] { collector.received.withLock { $0 } }

  /// Waits for so many answers.
  func answers(_ count: Int) async throws -> [ReadAnswer] {
    var answers: [ReadAnswer] = []
    try await eventually("\(count) answers came") {
      answers = try ReadAnswer.all(in: stream)
      return answers.count >= count
    }
    return answers
  }
}
