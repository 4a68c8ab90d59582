// A real HTTP server on loopback. The test decides each answer. Only a real socket shows everything that a client does.

import NIOCore
import NIOHTTP1
import NIOPosix
import NIOSSL
import Synchronization

/// What the server was sent.
struct ReceivedPush: Sendable {
  var headers: HTTPHeaders
  var body: [UInt8]
  var idempotencyKey: String { headers.first(name: "idempotency-key") ?? "" }
}

/// What it does about it.
enum PushReply: Sendable {
  case answer(Int, headers: HTTPHeaders = [:], body: String = "")
  /// Head and the beginning of a body, and then the connection ends.
  case brokenAnswer(Int)
  /// Head and the beginning of a body, and then nothing.
  case unendingAnswer(Int)
  case silence
  case close
}

/// A server with scripted answers. It is closed when this object is freed.
final class PushServer: Sendable {
  typealias Script = @Sendable (_ push: ReceivedPush, _ number: Int) -> PushReply

  private let received: Received
  private let channel: any Channel

  private init(received: Received, channel: any Channel) {
    self.received = received
    self.channel = channel
  }

  deinit { channel.close(promise: nil) }

  /// - Parameter script: Is given each push and its number, from 0.
  static func start(port: Int = 0, tls: NIOSSLContext? = nil, _ script: @escaping Script) async throws -> PushServer {
    let received = Received()
    let channel = try await ServerBootstrap(group: MultiThreadedEventLoopGroup.singleton)
      .serverChannelOption(.socketOption(.so_reuseaddr), value: 1)
      .childChannelInitializer { channel in
        channel.eventLoop.makeCompletedFuture {
          if let tls { try channel.pipeline.syncOperations.addHandler(NIOSSLServerHandler(context: tls)) }
          try channel.pipeline.syncOperations.configureHTTPServerPipeline()
          try channel.pipeline.syncOperations.addHandler(Handler(received: received, script: script))
        }
      }
      .bind(host: "127.0.0.1", port: port).get()
    return PushServer(received: received, channel: channel)
  }

  var port: Int { channel.localAddress?.port ?? 0 }
  var endpoint: String { "http://127.0.0.1:\(port)/v1/events" }
  var pushes: [ReceivedPush] { received.pushes.withLock { $0 } }

  final class Received: Sendable {
    let pushes = Mutex<[ReceivedPush]>([])
  }

  private final class Handler: ChannelInboundHandler {
    typealias InboundIn = HTTPServerRequestPart
    typealias OutboundOut = HTTPServerResponsePart

    private let received: Received
    private let script: Script
    private var head: HTTPRequestHead?
    private var body: [UInt8] = []

    init(received: Received, script: @escaping Script) {
      self.received = received
      self.script = script
    }

    func channelRead(context: ChannelHandlerContext, data: NIOAny) {
      switch unwrapInboundIn(data) {
      case .head(let head):
        self.head = head
        body = []
      case .body(let part): body += part.readableBytesView
      case .end:
        let push = ReceivedPush(headers: head?.headers ?? [:], body: body)
        let number = received.pushes.withLock { pushes in
          pushes.append(push)
          return pushes.count - 1
        }
        reply(script(push, number), context)
      }
    }

    private func reply(_ reply: PushReply, _ context: ChannelHandlerContext) {
      switch reply {
      case .answer(let status, var headers, let body):
        headers.replaceOrAdd(name: "content-length", value: "\(body.utf8.count)")
        write(status, headers, body, context)
        context.writeAndFlush(wrapOutboundOut(.end(nil)), promise: nil)
      case .brokenAnswer(let status):
        write(status, ["content-length": "100"], "begun", context)
        context.flush()
        context.close(promise: nil)
      case .unendingAnswer(let status):
        write(status, ["content-length": "100"], "begun", context)
        context.flush()
      case .silence: break
      case .close: context.close(promise: nil)
      }
    }

    private func write(_ status: Int, _ headers: HTTPHeaders, _ body: String, _ context: ChannelHandlerContext) {
      let head = HTTPResponseHead(
        version: .http1_1, status: HTTPResponseStatus(statusCode: status), headers: headers)
      context.write(wrapOutboundOut(.head(head)), promise: nil)
      context.write(wrapOutboundOut(.body(.byteBuffer(ByteBuffer(string: body)))), promise: nil)
    }

    func errorCaught(context: ChannelHandlerContext, error: any Error) { context.close(promise: nil) }
  }
}
