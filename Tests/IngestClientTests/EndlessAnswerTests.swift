// A server that never stops answering: whatever part of an answer has no end, the client holds a bounded part of it
// and goes on.

import Foundation
import NIOCore
import NIOPosix
import RedisFixture
import Synchronization
import Testing

@testable import IngestClient

struct EndlessAnswerTests {
  /// What has no end.
  enum Endless: String, CaseIterable, Sendable {
    case statusLine, fieldName, fieldValue, fields, goOn, body, chunks, chunkExtension, trailers

    var beginning: String {
      switch self {
      case .statusLine: "HTTP/1.1 503 "
      case .fieldName, .fields: "HTTP/1.1 503 No\r\n"
      case .fieldValue: "HTTP/1.1 503 No\r\nretry-after: 1"
      case .goOn: ""
      case .body: "HTTP/1.1 503 No\r\ncontent-length: 1000000000000\r\n\r\n"
      case .chunks, .chunkExtension, .trailers: "HTTP/1.1 503 No\r\ntransfer-encoding: chunked\r\n\r\n"
      }
    }

    /// Comes again and again, and never at the borders of reads.
    var piece: String {
      switch self {
      case .statusLine, .fieldName, .body: String(repeating: "x", count: 997)
      case .fieldValue: String(repeating: "1", count: 997)
      case .fields: "x-field: \(String(repeating: "v", count: 71))\r\n"
      case .goOn: "HTTP/1.1 103 Early Hints\r\nlink: </style.css>\r\n\r\n"
      case .chunks: "3\r\nabc\r\n"
      case .chunkExtension: "1;extension=\(String(repeating: "e", count: 701))"
      case .trailers: "x-trailer: \(String(repeating: "t", count: 701))\r\n"
      }
    }
  }

  @Test(arguments: Endless.allCases)
  func `an answer that never ends takes a bounded part of the client's memory`(endless: Endless) async throws {
    let flood = 64 << 20
    let server = try await FloodServer.start(endless.beginning, again: endless.piece, bytes: flood)
    let running = try RunningClient("http://127.0.0.1:\(server.port)/v1/events")
    let before = try Self.residentBytes()
    try running.client.submit(IngestClient.Payload(Array("{}".utf8)))
    let run = Task { try await running.client.run() }
    // Either the client has closed the connection, or it has read everything.
    try await eventually(within: .seconds(60), "the flood is over") { server.hasEnded }
    let grown = try Self.residentBytes() - before
    #expect(grown < flood / 2, "\(grown) bytes more after \(server.sent) were sent")
    run.cancel()
    try await run.value
    #expect(await running.client.drain().undelivered.count == 1)
  }

  private static func residentBytes() throws -> Int {
    let status = try String(contentsOfFile: "/proc/self/status", encoding: .utf8)
    guard let line = status.firstMatch(of: /VmRSS:\s+(\d+) kB/), let kilobytes = Int(line.1) else {
      throw NeverHappened(description: "no VmRSS")
    }
    return kilobytes << 10
  }
}

/// Answers the first request with a beginning and then with the same piece over and over. Closed with this object.
private final class FloodServer: Sendable {
  private let channel: any Channel
  private let counts: Counts

  final class Counts: Sendable {
    let sent = Mutex(0)
    let ended = Mutex(false)
  }

  private init(channel: any Channel, counts: Counts) {
    self.channel = channel
    self.counts = counts
  }

  deinit { channel.close(promise: nil) }

  var port: Int { channel.localAddress?.port ?? 0 }
  var sent: Int { counts.sent.withLock { $0 } }
  var hasEnded: Bool { counts.ended.withLock { $0 } }

  static func start(_ beginning: String, again piece: String, bytes: Int) async throws -> FloodServer {
    let counts = Counts()
    let whole = ByteBuffer(string: String(repeating: piece, count: max(1, 65_000 / piece.utf8.count)))
    let channel = try await ServerBootstrap(group: MultiThreadedEventLoopGroup.singleton)
      .serverChannelOption(.socketOption(.so_reuseaddr), value: 1)
      .childChannelInitializer { channel in
        channel.eventLoop.makeCompletedFuture {
          try channel.pipeline.syncOperations.addHandler(
            Handler(beginning: ByteBuffer(string: beginning), piece: whole, bytes: bytes, counts: counts))
        }
      }
      .bind(host: "127.0.0.1", port: 0).get()
    return FloodServer(channel: channel, counts: counts)
  }

  private final class Handler: ChannelInboundHandler {
    typealias InboundIn = ByteBuffer
    typealias OutboundOut = ByteBuffer

    private let beginning: ByteBuffer
    private let piece: ByteBuffer
    private let bytes: Int
    private let counts: Counts
    private var begun = false
    private var sent = 0

    init(beginning: ByteBuffer, piece: ByteBuffer, bytes: Int, counts: Counts) {
      self.beginning = beginning
      self.piece = piece
      self.bytes = bytes
      self.counts = counts
    }

    func channelRead(context: ChannelHandlerContext, data: NIOAny) {
      guard !begun else { return }
      begun = true
      context.writeAndFlush(wrapOutboundOut(beginning), promise: nil)
      goOn(context)
    }

    func channelWritabilityChanged(context: ChannelHandlerContext) {
      if begun { goOn(context) }
      context.fireChannelWritabilityChanged()
    }

    private func goOn(_ context: ChannelHandlerContext) {
      while context.channel.isWritable, sent < bytes {
        sent += piece.readableBytes
        context.writeAndFlush(wrapOutboundOut(piece), promise: nil)
      }
      counts.sent.withLock { $0 = sent }
      if sent >= bytes { counts.ended.withLock { $0 = true } }
    }

    func errorCaught(context: ChannelHandlerContext, error: any Error) { context.close(promise: nil) }

    func channelInactive(context: ChannelHandlerContext) {
      if begun { counts.ended.withLock { $0 = true } }
      context.fireChannelInactive()
    }
  }
}
