import Foundation
import Logging
import NIOCore
import NIOPosix
import RedisFixture
import ServiceLifecycle
import Synchronization
import Testing

@testable import IngestNode
@testable import Listening

struct AgentCheckTests {
  @Test(arguments: [
    (AgentState.up(weight: 70), "up ready 70%\n"), (.drain, "up drain\n"),
    (.down(reason: "a reason"), "down #a reason\n"),
  ])
  func `whoever connects is sent the state, and then the end`(state: AgentState, line: String) async throws {
    try await RunningAgent { state }.running { agent in
      let told = [try await Caller.ask(agent.port), try await Caller.ask(agent.port, sending: "node push-1\n")]
      #expect(told == [line, line])
    }
  }

  @Test func `a client that has ended its side first is answered`() async throws {
    let gate = Gate()
    let asked = Mutex(0)
    let running = RunningAgent {
      let first = asked.withLock { asked in
        asked += 1
        return asked == 1
      }
      if first { await gate.wait() }
      return .up(weight: 5)
    }
    try await running.running { agent in
      let caller = try await Caller.connect(agent.port, sending: "push-1", ending: true)
      try await eventually("it is asking, and has ended") { gate.waiting == 1 && caller.hasEnded }
      // Its end was there when the agent's only event loop took the next one, so it has been seen by now.
      _ = try await Caller.ask(agent.port)
      gate.open()
      try await caller.closed()
      #expect(caller.text == "up ready 5%\n")
    }
  }

  @Test func `the state is asked for anew each time, and the log tells when it changes`() async throws {
    let weight = Mutex(100)
    let running = RunningAgent {
      let weight = weight.withLock { $0 }
      return .up(weight: weight, reason: weight < 100 ? "Redis is away" : nil)
    }
    try await running.running { agent in
      for next in [100, 100, 40, 40] {
        weight.withLock { $0 = next }
        let told = try await Caller.ask(agent.port)
        #expect(told == "up ready \(next)%\n")
      }
      let told = agent.log.lines.filter { $0.message == "agent-check answer changed" }
      #expect(told.map { $0.metadata["answer"] } == ["up ready 100%", "up ready 40%"])
      #expect(told.map { $0.metadata["was"] } == [nil, "up ready 100%"])
      #expect(told.map { $0.metadata["reason"] } == [nil, "Redis is away"])
    }
  }

  @Test func `a state that doesn't come in time is no answer, and isn't waited for any longer`() async throws {
    let cancelled = Mutex(0)
    let running = RunningAgent(deadline: .milliseconds(50)) {
      do { try await Task.sleep(for: .seconds(60)) } catch { cancelled.withLock { $0 += 1 } }
      return .up(weight: 100)
    }
    try await running.running { agent in
      #expect(try await Caller.ask(agent.port) == "")
      try await eventually("the question is cancelled") { cancelled.withLock { $0 } == 1 }
    }
  }

  @Test func `more than may ask at once get no answer, and the next do`() async throws {
    let gate = Gate()
    let running = RunningAgent(connectionLimit: 3) {
      await gate.wait()
      return .up(weight: 100)
    }
    try await running.running { agent in
      try await withThrowingTaskGroup(of: String.self) { callers in
        for _ in 1...3 { callers.addTask { try await Caller.ask(agent.port) } }
        try await eventually("three are asking") { gate.waiting == 3 }
        #expect(try await Caller.ask(agent.port) == "")
        gate.open()
        for try await line in callers { #expect(line == "up ready 100%\n") }
      }
      try await eventually("there is room again") { try await Caller.ask(agent.port) == "up ready 100%\n" }
    }
  }

  @Test func `clients that were answered and stay make place for others`() async throws {
    try await RunningAgent(connectionLimit: 2, deadline: .seconds(60)) { .drain }.running { agent in
      let silent = try await Caller.connect(agent.port, stayingOpen: true)
      try await eventually("it has its line") { silent.text == "up drain\n" }
      // Kept, since a connection that ends makes a place by itself.
      var others: [Caller] = []
      for _ in 1...4 {
        let other = try await Caller.connect(agent.port, stayingOpen: true)
        others.append(other)
        try await eventually("another has its line") { other.text == "up drain\n" }
      }
      try await eventually("the first is closed") { silent.isRefused && others.count == 4 }
    }
  }

  @Test func `what comes after the answer is no reason for a reset, which might overtake it`() async throws {
    try await RunningAgent { .drain }.running { agent in
      let caller = try await Caller.connect(agent.port, stayingOpen: true)
      try await eventually("it has its line") { caller.text == "up drain\n" }
      // Were the socket closed, the first would bring a reset and the second would fail by it.
      for _ in 1...2 { try await caller.send("late\n") }
      try await caller.end()
      try await caller.closed()
    }
  }

  @Test func `a client that never ends is let go`() async throws {
    try await RunningAgent(deadline: .seconds(1)) { .drain }.running { agent in
      let silent = try await Caller.connect(agent.port, stayingOpen: true)
      try await eventually("it has its line") { silent.text == "up drain\n" }
      try await eventually("it is closed") { silent.isRefused }
    }
  }

  @Test func `a client that sends without end is let go`() async throws {
    try await RunningAgent(deadline: .seconds(60)) { .drain }.running { agent in
      let flooding = try await Caller.connect(agent.port, stayingOpen: true)
      flooding.flood()
      try await eventually("it is closed") { flooding.isRefused }
    }
  }

  @Test func `ending answers those who are asking, and nobody else`() async throws {
    let gate = Gate()
    let running = RunningAgent {
      await gate.wait()
      return .drain
    }
    let port = Mutex(0)
    try await withThrowingTaskGroup(of: String.self) { callers in
      try await running.running { agent in
        port.withLock { $0 = agent.port }
        callers.addTask { try await Caller.ask(agent.port) }
        try await eventually("one is asking") { gate.waiting == 1 }
        await agent.beginToEnd()
        try await eventually("nobody else is let in") {
          do {
            _ = try await Caller.connect(agent.port)
            return false
          } catch is NIOConnectionError {
            return true
          }
        }
        gate.open()
      }
      #expect(try await callers.next() == "up drain\n")
    }
  }

  @Test func `a port that somebody else has is an error`() async throws {
    try await RunningAgent { .drain }.running { agent in
      let second = RunningAgent(port: agent.port) { .drain }
      await #expect(throws: CannotListen.self) { try await second.running { _ in } }
    }
  }

  @Test(.enabled(if: HAProxy.program != nil, "needs Debian's haproxy")) func `HAProxy does as it is told`() async throws
  {
    let state = Mutex(AgentState.up(weight: 100))
    let running = RunningAgent { state.withLock { $0 } }
    try await running.running { agent in
      let proxy = try await HAProxy.start(agentPort: agent.port)
      func expect(_ next: AgentState, _ seen: HAProxy.Server) async throws {
        state.withLock { $0 = next }
        var last: HAProxy.Server?
        do {
          try await eventually("HAProxy has understood \(next)") {
            last = try await proxy.server()
            return last == seen
          }
        } catch {
          throw NeverHappened(description: "\(error): \(String(describing: last))")
        }
      }
      try await expect(.up(weight: 100), .init(weight: 100, status: "no check", said: "via agent : up"))
      try await expect(.up(weight: 40), .init(weight: 40, status: "no check", said: "via agent : up"))
      try await expect(.drain, .init(weight: 40, status: "DRAIN (agent)", said: "via agent : up"))
      try await expect(.up(weight: 0), .init(weight: 0, status: "no check", said: "via agent : up"))
      try await expect(
        .down(reason: "no mirror"), .init(weight: 0, status: "DOWN (agent)", said: "via agent : down (no mirror)"))
      // `drain` alone would leave it down.
      try await expect(.drain, .init(weight: 0, status: "DRAIN (agent)", said: "via agent : up"))
      try await expect(.down(reason: ""), .init(weight: 0, status: "DOWN (agent)", said: "via agent : down"))
      try await expect(.up(weight: 7), .init(weight: 7, status: "no check", said: "via agent : up"))
    }
  }
}

/// An agent check that runs as in a node.
private struct RunningAgent: Sendable {
  let log = RecordedLog()
  private let address = SharedAddress()
  private let loop = MultiThreadedEventLoopGroup(numberOfThreads: 1)
  private let group: ServiceGroup

  init(
    port: Int = 0, connectionLimit: Int = 64, deadline: TimeAmount = .seconds(10),
    _ state: @escaping @Sendable () async -> AgentState
  ) {
    let address = address
    let check = AgentCheck(
      host: "127.0.0.1", port: port, group: loop,
      part: .init(connections: connectionLimit, courtesies: 0, batch: 4), deadline: deadline,
      logger: log.logger, listening: { address.set($0) }, state: state)
    group = ServiceGroup(
      configuration: .init(services: [.init(service: check)], gracefulShutdownSignals: [], logger: log.logger))
  }

  var port: Int { address.port ?? 0 }

  func beginToEnd() async { await group.triggerGracefulShutdown() }

  func running(_ body: (RunningAgent) async throws -> Void) async throws {
    try await withThrowingTaskGroup(of: Void.self) { tasks in
      tasks.addTask {
        defer { address.end() }
        try await group.run()
      }
      try await eventually("it listens") { address.port != nil || address.hasEnded }
      if address.port != nil {
        try await body(self)
        await group.triggerGracefulShutdown()
      }
      try await tasks.waitForAll()
    }
    try await loop.shutdownGracefully()
  }

  private final class SharedAddress: Sendable {
    private let state = Mutex<(port: Int?, ended: Bool)>((nil, false))
    var port: Int? { state.withLock { $0.port } }
    var hasEnded: Bool { state.withLock { $0.ended } }
    func set(_ address: String) { state.withLock { $0.port = address.split(separator: ":").last.flatMap { Int($0) } } }
    func end() { state.withLock { $0.ended = true } }
  }
}

/// Blocks all waiters until it is opened.
private final class Gate: Sendable {
  private let state = Mutex<(open: Bool, waiting: [CheckedContinuation<Void, Never>])>((false, []))

  var waiting: Int { state.withLock { $0.waiting.count } }

  func wait() async {
    await withCheckedContinuation { continuation in
      let open = state.withLock { state in
        if !state.open { state.waiting.append(continuation) }
        return state.open
      }
      if open { continuation.resume() }
    }
  }

  func open() {
    let waiting = state.withLock { state in
      defer { state = (true, []) }
      return state.waiting
    }
    for continuation in waiting { continuation.resume() }
  }
}

/// A plain connection to the agent check.
private final class Caller: Sendable {
  private let channel: any Channel
  private let heard: Heard

  private init(channel: any Channel, heard: Heard) {
    self.channel = channel
    self.heard = heard
  }

  deinit { channel.close(promise: nil) }

  var text: String { heard.state.withLock { $0.text } }
  /// Whether its side has ended.
  var hasEnded: Bool { heard.state.withLock { $0.ended } }
  /// Whether the other side takes nothing any more.
  var isRefused: Bool {
    // The second write to a socket that is closed over there is what fails.
    channel.writeAndFlush(ByteBuffer(string: "?"), promise: nil)
    return !channel.isActive
  }

  /// - Parameters:
  ///   - sending: Sent before anything that comes is looked at.
  ///   - ending: Ends its side after that.
  ///   - stayingOpen: Doesn't end its side when the other one has.
  static func connect(
    _ port: Int, sending: String? = nil, ending: Bool = false, stayingOpen: Bool = false
  ) async throws -> Caller {
    let heard = Heard()
    let channel = try await ClientBootstrap(group: MultiThreadedEventLoopGroup.singleton)
      .channelOption(.allowRemoteHalfClosure, value: stayingOpen || ending)
      .channelInitializer { channel in
        channel.eventLoop.makeCompletedFuture {
          try channel.pipeline.syncOperations.addHandler(Handler(heard: heard, sending: sending, ending: ending))
        }
      }
      .connect(host: "127.0.0.1", port: port).get()
    return Caller(channel: channel, heard: heard)
  }

  /// Waits for the end.
  /// - Throws: Where it was a reset.
  func closed() async throws {
    try await eventually("the connection ends") { !channel.isActive }
    if let error = heard.state.withLock({ $0.error }) { throw error }
  }

  /// All that comes until the end.
  static func ask(_ port: Int, sending: String? = nil) async throws -> String {
    let caller = try await connect(port, sending: sending)
    try await caller.closed()
    return caller.text
  }

  func send(_ text: String) async throws { try await channel.writeAndFlush(ByteBuffer(string: text)) }

  /// Ends its side.
  func end() async throws { try await channel.close(mode: .output) }

  /// Sends for as long as it can.
  func flood() {
    let bytes = ByteBuffer(repeating: 0x61, count: 1 << 16)
    channel.writeAndFlush(bytes).whenSuccess { self.channel.eventLoop.execute { self.flood() } }
  }

  private final class Heard: Sendable {
    let state = Mutex<(text: String, ended: Bool, error: (any Error)?)>(("", false, nil))
  }

  private final class Handler: ChannelInboundHandler {
    typealias InboundIn = ByteBuffer
    typealias OutboundOut = ByteBuffer

    let heard: Heard
    let sending: String?
    let ending: Bool

    init(heard: Heard, sending: String?, ending: Bool) {
      self.heard = heard
      self.sending = sending
      self.ending = ending
    }

    func channelActive(context: ChannelHandlerContext) {
      if let sending { context.writeAndFlush(wrapOutboundOut(ByteBuffer(string: sending)), promise: nil) }
      if ending {
        context.close(mode: .output).assumeIsolated().whenSuccess { self.heard.state.withLock { $0.ended = true } }
      }
    }

    func channelRead(context: ChannelHandlerContext, data: NIOAny) {
      let part = String(buffer: unwrapInboundIn(data))
      heard.state.withLock { $0.text += part }
    }

    func errorCaught(context: ChannelHandlerContext, error: any Error) {
      heard.state.withLock { $0.error = error }
      context.close(promise: nil)
    }
  }
}

/// A real HAProxy whose one server asks an agent.
private struct HAProxy {
  /// What it makes of the agent's answers.
  struct Server: Equatable {
    let weight: Int
    let status: String
    let said: String
  }

  /// Where it is installed, if it is.
  static let program: String? = {
    let path = ProcessInfo.processInfo.environment["PATH"] ?? ""
    let folders = path.split(separator: ":").map(String.init) + ["/usr/sbin", "/usr/local/sbin"]
    return folders.map { "\($0)/haproxy" }.first { FileManager.default.isExecutableFile(atPath: $0) }
  }()

  private let process: ServiceProcess
  private let folder: TemporaryFolder

  static func start(agentPort: Int) async throws -> HAProxy {
    let folder = try TemporaryFolder()
    try Data(
      """
      global
        stats socket \(folder.path("stats")) mode 600
      defaults
        mode tcp
        timeout connect 1s
        timeout client 1s
        timeout server 1s
      listen pushes
        bind \(folder.path("pushes"))
        server node 127.0.0.1:1 weight 100 agent-check agent-port \(agentPort) agent-inter 50ms agent-send "node\\n"

      """.utf8
    ).write(to: folder.url("haproxy.cfg"))
    let process = try await ServiceProcess.start(
      try #require(program), ["-db", "-f", folder.path("haproxy.cfg")])
    return HAProxy(process: process, folder: folder)
  }

  private static let script = """
    import csv, json, socket, sys
    s = socket.socket(socket.AF_UNIX)
    s.settimeout(5)
    s.connect(sys.argv[1])
    s.sendall(b'show stat\\n')
    text = s.makefile().read()
    rows = list(csv.DictReader(text.lstrip('# ').splitlines()))
    row = next(r for r in rows if r['svname'] == 'node')
    print(json.dumps(dict(weight=row['weight'], status=row['status'], said=row['last_agt'])))
    """

  func server() async throws -> Server {
    guard process.status == nil else { throw NeverHappened(description: "HAProxy ended\n\(process.outputs)") }
    let row = try await python(Self.script, [folder.path("stats")], printing: [String: String].self)
    return Server(weight: Int(row["weight"] ?? "") ?? -1, status: row["status"] ?? "", said: row["said"] ?? "")
  }
}
