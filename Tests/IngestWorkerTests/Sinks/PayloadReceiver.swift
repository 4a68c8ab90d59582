// A real HTTP server on loopback that keeps what it is sent as a good receiver would: what has an id that it knows is accepted and
// not kept again. It can be away, come back on its port, and not answer.

import Foundation
import IngestQueue
import NIOCore
import NIOHTTP1
import NIOPosix
import RedisFixture
import Synchronization

/// A request as it came.
struct ReceivedRequest: Sendable {
  var uri: String
  var headers: HTTPHeaders
  var body: [UInt8]
}

/// A server that stores what it is sent. Closed with this object.
final class PayloadReceiver: Sendable {
  struct Reply: Sendable {
    var status = 200
    var headers: HTTPHeaders = [:]
    var body = ""
    /// Head and nothing more, for ever.
    var isUnending = false
    /// The connection is reset instead of an answer.
    var isReset = false
    /// No answer ever comes.
    var isSilent = false
    /// Sent again and again, without end, instead of an answer of HTTP's.
    var flood: (beginning: String, unit: String)?
  }

  /// Decides on a request before it is stored; nil to store it. Its number is from 0.
  typealias Script = @Sendable (ReceivedRequest, Int) -> Reply?

  private struct State {
    var requests: [ReceivedRequest] = []
    var kept: [String: StoredDelivery] = [:]
    var channels: [any Channel] = []
    var port = 0
    var isHeld = false
    var script: Script = { _, _ in nil }
    var delay: @Sendable (ReceivedRequest) -> TimeAmount? = { _ in nil }
  }

  private let state = Mutex(State())

  static func start(_ script: @escaping Script = { _, _ in nil }) async throws -> PayloadReceiver {
    let receiver = PayloadReceiver()
    receiver.answer(by: script)
    try await receiver.listen()
    return receiver
  }

  deinit { for channel in state.withLock({ $0.channels }) { channel.close(promise: nil) } }

  var port: Int { state.withLock { $0.port } }
  var requests: [ReceivedRequest] { state.withLock { $0.requests } }
  /// In the order of their times.
  var stored: [StoredDelivery] {
    state.withLock { Array($0.kept.values) }.sorted { ($0.receivedAt, $0.id) < ($1.receivedAt, $1.id) }
  }

  func answer(by script: @escaping Script) { state.withLock { $0.script = script } }

  /// Delays the answers to some requests by this time.
  func delay(_ delay: @escaping @Sendable (ReceivedRequest) -> TimeAmount?) { state.withLock { $0.delay = delay } }

  /// Takes requests and answers none.
  func hold() { state.withLock { $0.isHeld = true } }
  func release() { state.withLock { $0.isHeld = false } }

  func goAway() async throws {
    let channels = state.withLock { state in
      defer { state.channels = [] }
      return state.channels
    }
    for channel in channels { try? await channel.close() }
  }

  func listen() async throws {
    let server = try await ServerBootstrap(group: MultiThreadedEventLoopGroup.singleton)
      .serverChannelOption(.socketOption(.so_reuseaddr), value: 1)
      .childChannelInitializer { [weak self] channel in
        channel.eventLoop.makeCompletedFuture {
          self?.state.withLock { $0.channels.append(channel) }
          try channel.pipeline.syncOperations.configureHTTPServerPipeline()
          try channel.pipeline.syncOperations.addHandler(
            Handler { request in
              guard let self, let reply = self.reply(to: request) else { return nil }
              return (reply, self.state.withLock { $0.delay }(request))
            })
        }
      }
      .bind(host: "127.0.0.1", port: port).get()
    state.withLock {
      $0.channels.append(server)
      $0.port = server.localAddress?.port ?? 0
    }
  }

  /// Nil for no answer.
  private func reply(to request: ReceivedRequest) -> Reply? {
    let (script, number, isHeld) = state.withLock { state in
      state.requests.append(request)
      return (state.script, state.requests.count - 1, state.isHeld)
    }
    if isHeld { return nil }
    if let reply = script(request, number) { return reply }
    let isBatch = request.headers.first(name: "content-type") == "application/x-ndjson"
    let new: [StoredDelivery]
    do {
      new = isBatch ? try StoredDelivery.lines(request.body) : [try StoredDelivery(request)]
    } catch {
      return Reply(status: 400, body: "\(error)")
    }
    return state.withLock { state in
      // Accepts nothing of a batch with a bad line, as real receivers do.
      if new.contains(where: { $0.account == "refused" }) {
        return Reply(status: 422, body: "an account that we don't serve")
      }
      for delivery in new where state.kept[delivery.id] == nil { state.kept[delivery.id] = delivery }
      return Reply()
    }
  }

  private final class Handler: ChannelInboundHandler {
    typealias InboundIn = HTTPServerRequestPart
    typealias OutboundOut = HTTPServerResponsePart

    private let reply: (ReceivedRequest) -> (Reply, TimeAmount?)?
    private var head: HTTPRequestHead?
    private var body: [UInt8] = []

    init(_ reply: @escaping (ReceivedRequest) -> (Reply, TimeAmount?)?) { self.reply = reply }

    func channelRead(context: ChannelHandlerContext, data: NIOAny) {
      switch unwrapInboundIn(data) {
      case .head(let head):
        self.head = head
        body = []
      case .body(let part): body += part.readableBytesView
      case .end:
        let request = ReceivedRequest(uri: head?.uri ?? "", headers: head?.headers ?? [:], body: body)
        guard let (reply, delay) = reply(request), !reply.isSilent else { return }
        if reply.isReset { return Self.reset(context.channel) }
        if let flood = reply.flood { return Self.flood(context.channel, flood.beginning, flood.unit) }
        guard let delay else { return answer(reply, context) }
        context.eventLoop.assumeIsolated().scheduleTask(in: delay) { self.answer(reply, context) }
      }
    }

    private func answer(_ reply: Reply, _ context: ChannelHandlerContext) {
      var headers = reply.headers
      headers.add(name: "content-length", value: "\(reply.body.utf8.count + (reply.isUnending ? 1 : 0))")
      let head = HTTPResponseHead(
        version: .http1_1, status: HTTPResponseStatus(statusCode: reply.status), headers: headers)
      context.write(wrapOutboundOut(.head(head)), promise: nil)
      context.writeAndFlush(wrapOutboundOut(.body(.byteBuffer(ByteBuffer(string: reply.body)))), promise: nil)
      if !reply.isUnending { context.writeAndFlush(wrapOutboundOut(.end(nil)), promise: nil) }
    }

    func errorCaught(context: ChannelHandlerContext, error: any Error) { context.close(promise: nil) }

    private static func reset(_ channel: any Channel) {
      guard let socket = channel as? any SocketOptionProvider else { return channel.close(promise: nil) }
      socket.setSoLinger(linger(l_onoff: 1, l_linger: 0)).whenComplete { _ in channel.close(promise: nil) }
    }

    /// Writes past the HTTP handlers until the other side has gone.
    private static func flood(_ channel: any Channel, _ beginning: String, _ unit: String) {
      guard let context = try? channel.pipeline.syncOperations.context(handlerType: HTTPResponseEncoder.self) else {
        return channel.close(promise: nil)
      }
      let part = ByteBuffer(string: String(repeating: unit, count: max(1, 65_536 / unit.utf8.count)))
      func next() { context.writeAndFlush(NIOAny(part)).assumeIsolated().whenSuccess { next() } }
      context.writeAndFlush(NIOAny(ByteBuffer(string: beginning))).assumeIsolated().whenSuccess { next() }
    }
  }
}
