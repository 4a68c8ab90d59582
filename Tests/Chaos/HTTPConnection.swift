// One keep-alive connection of a client, one request at a time. No request is ever repeated without the caller's
// knowledge, because the ledger must contain every attempt; so this isn't a client library. An answer without a request
// is an error.

import NIOCore
import NIOHTTP1
import NIOPosix

/// What came back.
struct HTTPAnswer: Sendable {
  var status: Int
  var body: String
  /// Whether the connection can take another request.
  var isLast: Bool
}

/// Why there is no answer.
enum NoAnswer: Error {
  case notConnected(String)
  case closed
  case late
  /// The received bytes aren't a valid answer, or belong to no request.
  case stray(String)
}

/// An open connection to a node.
final class HTTPConnection: Sendable {
  private let channel: any Channel
  private let asking: NIOLoopBound<Asking>

  private init(channel: any Channel, asking: NIOLoopBound<Asking>) {
    self.channel = channel
    self.asking = asking
  }

  deinit { channel.close(promise: nil) }

  static func connect(port: Int) async throws(NoAnswer) -> HTTPConnection {
    do {
      return try await ClientBootstrap(group: MultiThreadedEventLoopGroup.singleton)
        .connectTimeout(.seconds(2))
        .connect(host: "127.0.0.1", port: port)
        .flatMapThrowing { channel in
          let asking = Asking(loop: channel.eventLoop)
          try channel.pipeline.syncOperations.addHTTPClientHandlers()
          try channel.pipeline.syncOperations.addHandler(asking)
          return HTTPConnection(channel: channel, asking: NIOLoopBound(asking, eventLoop: channel.eventLoop))
        }.get()
    } catch {
      throw .notConnected("\(error)")
    }
  }

  func close() { channel.close(promise: nil) }

  /// - Parameter sent: How much of the body is sent before the connection is closed; nil for all of it and an answer.
  func ask(
    _ head: HTTPRequestHead, body: ByteBuffer, within limit: Duration, sent: Int? = nil
  ) async throws(NoAnswer) -> HTTPAnswer {
    do {
      return try await channel.eventLoop.flatSubmit { [channel, asking] in
        asking.value.ask(head, body, within: TimeAmount(limit), sent: sent, on: channel)
      }.get()
    } catch let error as NoAnswer {
      throw error
    } catch {
      throw .closed
    }
  }

  /// The question under way. On the connection's event loop.
  private final class Asking: ChannelInboundHandler {
    typealias InboundIn = HTTPClientResponsePart
    typealias OutboundOut = HTTPClientRequestPart

    private let loop: any EventLoop
    private var promise: EventLoopPromise<HTTPAnswer>?
    private var late: Scheduled<Void>?
    private var head: HTTPResponseHead?
    private var body = ByteBuffer()
    private var stray: String?
    private var isClosed = false

    init(loop: any EventLoop) { self.loop = loop }

    func ask(
      _ head: HTTPRequestHead, _ body: ByteBuffer, within limit: TimeAmount, sent: Int?, on channel: any Channel
    ) -> EventLoopFuture<HTTPAnswer> {
      if let stray { return loop.makeFailedFuture(NoAnswer.stray(stray)) }
      guard !isClosed, promise == nil else { return loop.makeFailedFuture(NoAnswer.closed) }
      let promise = loop.makePromise(of: HTTPAnswer.self)
      self.promise = promise
      late = loop.assumeIsolated().scheduleTask(in: limit) {
        self.fail(.late)
        channel.close(promise: nil)
      }
      channel.write(HTTPClientRequestPart.head(head), promise: nil)
      if let sent, let part = body.getSlice(at: body.readerIndex, length: min(sent, body.readableBytes)) {
        channel.writeAndFlush(HTTPClientRequestPart.body(.byteBuffer(part)), promise: nil)
        channel.close(promise: nil)
      } else {
        channel.write(HTTPClientRequestPart.body(.byteBuffer(body)), promise: nil)
        channel.writeAndFlush(HTTPClientRequestPart.end(nil), promise: nil)
      }
      return promise.futureResult
    }

    func channelRead(context: ChannelHandlerContext, data: NIOAny) {
      switch unwrapInboundIn(data) {
      case .head(let head):
        self.head = head
        body.clear()
      case .body(var part): body.writeBuffer(&part)
      case .end:
        guard let head else { return }
        self.head = nil
        let answer = HTTPAnswer(
          status: Int(head.status.code), body: String(buffer: body), isLast: !head.isKeepAlive)
        guard let promise else {
          stray = "\(answer.status) \(answer.body)"
          context.close(promise: nil)
          return
        }
        self.promise = nil
        late?.cancel()
        if answer.isLast { context.close(promise: nil) }
        promise.succeed(answer)
      }
    }

    func errorCaught(context: ChannelHandlerContext, error: any Error) {
      switch error {
      // Cut off in the middle of an answer.
      case HTTPParserError.invalidEOFState: fail(.closed)
      case is HTTPParserError, is NIOHTTPDecoderError:
        stray = "\(error)"
        fail(.stray("\(error)"))
      default: fail(.closed)
      }
      context.close(promise: nil)
    }

    func channelInactive(context: ChannelHandlerContext) {
      isClosed = true
      fail(.closed)
    }

    private func fail(_ reason: NoAnswer) {
      late?.cancel()
      promise?.fail(reason)
      promise = nil
    }
  }
}
