// The admin listener on real sockets: whatever clients do, their connections end, and others are answered.

import Fleet
import Foundation
import NIOCore
import NIOPosix
import PrometheusText
import RedisFixture
import ServiceLifecycle
import Synchronization
import Testing

@testable import IngestNode
@testable import Listening

@Suite struct AdminListenerTests {
  @Test func `requests are answered, one after the other on a connection`() async throws {
    try await RunningAdmin().running { admin in
      let client = try await Visitor.connect(admin.port)
      for round in 1...3 {
        client.send("GET /livez HTTP/1.1\r\nHost: sluice\r\n\r\n")
        try await eventually("\(round) answers") { client.text.components(separatedBy: "alive\n").count == round + 1 }
      }
      #expect(client.text.hasPrefix("HTTP/1.1 200 OK\r\n"))
      let date = try #require(client.text.firstMatch(of: /(?i)\r\ndate: ([^\r]*)\r\n/)?.1)
      let format = DateFormatter()
      format.locale = Locale(identifier: "en_US_POSIX")
      format.timeZone = TimeZone(identifier: "GMT")
      format.dateFormat = "EEE, dd MMM yyyy HH:mm:ss 'GMT'"
      let said = try #require(format.date(from: String(date)), "\(date)")
      #expect(abs(said.timeIntervalSinceNow) < 60 && format.string(from: said) == date)
    }
  }

  @Test func `what can't be reported is 500, and an unknown path 404`() async throws {
    try await RunningAdmin().running { admin in
      for (path, status) in [("/status", 500), ("/readyz", 500), ("/nothing", 404), ("/livez", 200)] {
        let client = try await Visitor.connect(admin.port)
        client.send("GET \(path) HTTP/1.1\r\nHost: sluice\r\nConnection: close\r\n\r\n")
        try await eventually("it is answered") { client.text.hasPrefix("HTTP/1.1 \(status) ") }
      }
    }
  }

  @Test(arguments: [
    // Nothing at all; a head that never ends its line; one that goes on without end; one too long, whose 400 the client
    // reads and then stays; a request whose body never comes; one that was answered and says nothing more.
    "", "GET /livez HTTP/1.1\r\nX-A: ", "GET /livez HTTP/1.1\r\n",
    "GET /livez HTTP/1.1\r\nX-A: \(String(repeating: "a", count: 200_000))",
    "POST /livez HTTP/1.1\r\nHost: sluice\r\nContent-Length: 1000\r\n\r\n",
    "GET /livez HTTP/1.1\r\nHost: sluice\r\n\r\n",
  ])
  func `a client that keeps its connection is closed in time`(text: String) async throws {
    let deadlines = HTTPDeadlines(request: .milliseconds(300), idle: .milliseconds(300), goodbye: .milliseconds(300))
    try await RunningAdmin(deadlines: deadlines).running { admin in
      let clients = try await (0..<3).asyncMap { _ in try await Visitor.connect(admin.port) }
      for client in clients { client.send(text) }
      try await eventually("all are closed") { clients.allSatisfy(\.isClosed) }
    }
  }

  @Test func `a client that sends a head byte by byte is closed all the same`() async throws {
    let deadlines = HTTPDeadlines(request: .milliseconds(300), idle: .seconds(60), goodbye: .seconds(60))
    try await RunningAdmin(deadlines: deadlines).running { admin in
      let client = try await Visitor.connect(admin.port)
      client.send("GET /livez HTTP/1.1\r\nX-A: ")
      try await eventually("it is closed") {
        client.send("a")
        return client.isClosed
      }
    }
  }

  @Test func `when there is no place the oldest connection makes room`() async throws {
    let deadlines = HTTPDeadlines(request: .seconds(60), idle: .seconds(60), goodbye: .seconds(60))
    try await RunningAdmin(connections: 4, deadlines: deadlines).running { admin in
      let idle = try await (0..<4).asyncMap { _ in try await Visitor.connect(admin.port) }
      var clients: [Visitor] = []
      for _ in 1...12 {
        let client = try await Visitor.connect(admin.port)
        clients.append(client)
        client.send("GET /livez HTTP/1.1\r\nHost: sluice\r\n\r\n")
        try await eventually("it is answered") { client.text.hasSuffix("alive\n") }
      }
      try await eventually("the idle ones are closed") { idle.allSatisfy(\.isClosed) }
      #expect(clients.suffix(3).allSatisfy { !$0.isClosed }, "those that were answered last have their places")
    }
  }
}

extension Sequence {
  fileprivate func asyncMap<T>(_ transform: (Element) async throws -> T) async rethrows -> [T] {
    var results: [T] = []
    for element in self { results.append(try await transform(element)) }
    return results
  }
}

private final class RunningAdmin: Sendable {
  private struct NothingToReport: Error {}

  private let heard = Mutex<Int?>(nil)
  private let loop = MultiThreadedEventLoopGroup(numberOfThreads: 1)
  private let connections: Int
  private let deadlines: HTTPDeadlines

  init(connections: Int = 16, deadlines: HTTPDeadlines = HTTPDeadlines()) {
    self.connections = connections
    self.deadlines = deadlines
  }

  var port: Int { heard.withLock { $0 ?? 0 } }

  func running(_ body: (RunningAdmin) async throws -> Void) async throws {
    let log = RecordedLog()
    let listener = AdminListener(
      host: "127.0.0.1", port: 0, group: loop, part: .init(connections: connections, courtesies: 0, batch: 4),
      deadlines: deadlines, logger: log.logger,
      listening: { address in self.heard.withLock { $0 = address.split(separator: ":").last.flatMap { Int($0) } } },
      routes: AdminRoutes(report: { throw NothingToReport() }, metrics: PrometheusRegistry()))
    let group = ServiceGroup(
      configuration: .init(services: [.init(service: listener)], gracefulShutdownSignals: [], logger: log.logger))
    try await withThrowingTaskGroup(of: Void.self) { tasks in
      tasks.addTask { try await group.run() }
      try await eventually("it listens") { self.heard.withLock { $0 != nil } }
      try await body(self)
      await group.triggerGracefulShutdown()
      try await tasks.waitForAll()
    }
    try await loop.shutdownGracefully()
  }
}

/// A client that reads what comes and ends nothing by itself.
private final class Visitor: Sendable {
  private final class Reader: ChannelInboundHandler, Sendable {
    typealias InboundIn = ByteBuffer
    let text = Mutex("")
    let isClosed = Atomic(false)

    func channelRead(context: ChannelHandlerContext, data: NIOAny) {
      let part = String(buffer: unwrapInboundIn(data))
      text.withLock { $0 += part }
    }

    func channelInactive(context: ChannelHandlerContext) { isClosed.store(true, ordering: .releasing) }

    func errorCaught(context: ChannelHandlerContext, error: any Error) { context.close(promise: nil) }
  }

  private let channel: any Channel
  private let reader: Reader

  private init(_ channel: any Channel, _ reader: Reader) {
    self.channel = channel
    self.reader = reader
  }

  deinit { channel.close(promise: nil) }

  static func connect(_ port: Int) async throws -> Visitor {
    let reader = Reader()
    let channel = try await ClientBootstrap(group: MultiThreadedEventLoopGroup.singleton)
      .channelOption(.allowRemoteHalfClosure, value: true)
      .channelInitializer { channel in
        channel.eventLoop.makeCompletedFuture { try channel.pipeline.syncOperations.addHandler(reader) }
      }
      .connect(host: "127.0.0.1", port: port).get()
    return Visitor(channel, reader)
  }

  func send(_ text: String) { channel.writeAndFlush(ByteBuffer(string: text), promise: nil) }

  var text: String { reader.text.withLock { $0 } }
  var isClosed: Bool { reader.isClosed.load(ordering: .acquiring) }
}
