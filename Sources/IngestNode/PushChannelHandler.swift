// One client's connection: reads requests with NIO's HTTP pipeline, asks the gate, writes exactly one answer to each. The
// pipelining handler before it holds the next request back until the answer to this one is written.

internal import Foundation
internal import KeyReplica
internal import KeyStore
internal import NIOCore
internal import NIOHTTP1

/// What a connection may cost.
struct ConnectionLimits: Sendable {
  /// In bytes.
  var body: Int
  /// With no request under way, or none of its bytes coming.
  var idle: TimeAmount = .seconds(75)
  /// How long what is left of a refused body is read and thrown away before the connection is closed. Closing at once would
  /// reset it, and the client might never see the answer.
  var discard: TimeAmount = .seconds(5)
}

final class PushChannelHandler: ChannelInboundHandler {
  typealias InboundIn = HTTPServerRequestPart
  typealias OutboundOut = HTTPServerResponsePart

  private enum State {
    case idle
    case reading(HTTPRequestHead, ByteBuffer)
    /// Answered before the end of the request: what still comes of it is thrown away.
    case discarding
    case answering
    case closing
  }

  private let gate: PushGate
  private let limits: ConnectionLimits
  private let counters: AnswerCounters
  private var state = State.idle
  private var quiescing = false

  init(gate: PushGate, limits: ConnectionLimits, counters: AnswerCounters) {
    self.gate = gate
    self.limits = limits
    self.counters = counters
  }

  func channelRead(context: ChannelHandlerContext, data: NIOAny) {
    switch (unwrapInboundIn(data), state) {
    case (.head(let head), .idle): began(head, context)
    case (.body(let part), .reading(let head, var body)):
      state = .idle  // so that the buffer isn't copied
      guard body.readableBytes + part.readableBytes <= limits.body else {
        refuseEarly(.tooLarge(limit: limits.body), head, context)
        return
      }
      body.writeImmutableBuffer(part)
      state = .reading(head, body)
    case (.end, .reading(let head, let body)):
      state = .answering
      ask(head, body, context)
    case (.end, .discarding):
      state = .closing
      context.close(promise: nil)
    case (_, .discarding), (_, .closing): break
    case (.head, _), (.body, _), (.end, _):
      // NIO's decoder and the pipelining handler don't let this happen; if they did, no answer could be told to its request.
      state = .closing
      context.close(promise: nil)
    }
  }

  private func began(_ head: HTTPRequestHead, _ context: ChannelHandlerContext) {
    let announced = head.headers.first(name: "content-length").flatMap { Int($0) } ?? 0
    guard announced <= limits.body else {
      refuseEarly(.tooLarge(limit: limits.body), head, context)
      return
    }
    if head.version != .http1_0, head.headers.first(name: "expect")?.lowercased() == "100-continue" {
      context.writeAndFlush(
        wrapOutboundOut(.head(HTTPResponseHead(version: head.version, status: .continue))), promise: nil)
    }
    state = .reading(head, context.channel.allocator.buffer(capacity: announced))
  }

  private func ask(_ head: HTTPRequestHead, _ body: ByteBuffer, _ context: ChannelHandlerContext) {
    let parts = head.uri.split(separator: "?", maxSplits: 1, omittingEmptySubsequences: false)
    let path = String(parts[0])
    guard path.hasPrefix("/v1/") else {
      write(.malformed(.notFound), to: head, context)
      return
    }
    guard head.method == .POST else {
      write(.malformed(.methodNotAllowed), to: head, context)
      return
    }
    let request = PushRequest(
      key: PresentedKey.find(headers: head.headers, query: parts.count == 2 ? parts[1] : nil), path: path,
      contentType: head.headers.first(name: "content-type"),
      contentEncoding: head.headers.first(name: "content-encoding"),
      traceparent: head.headers.first(name: "traceparent"),
      idempotencyKey: head.headers.first(name: "idempotency-key").map { Array($0.utf8) }, body: body)
    gate.answer(request).assumeIsolated().whenSuccess { answer in
      self.write(answer, to: head, context)
    }
  }

  /// Answers before the request has ended, and ends the connection after it.
  private func refuseEarly(_ answer: PushAnswer, _ head: HTTPRequestHead, _ context: ChannelHandlerContext) {
    state = .discarding
    writeResponse(answer, to: head, closing: true, context)
    let loop = context.eventLoop.assumeIsolated()
    loop.scheduleTask(in: limits.discard) {
      if case .discarding = self.state { context.close(promise: nil) }
    }
  }

  private func write(_ answer: PushAnswer, to head: HTTPRequestHead, _ context: ChannelHandlerContext) {
    // The client may have gone while the answer was being found.
    guard case .answering = state, context.channel.isActive else { return }
    let closing = quiescing || !head.isKeepAlive
    state = closing ? .closing : .idle
    let written = writeResponse(answer, to: head, closing: closing, context)
    if closing { written.assumeIsolated().whenComplete { _ in context.close(promise: nil) } }
  }

  @discardableResult
  private func writeResponse(
    _ answer: PushAnswer, to head: HTTPRequestHead, closing: Bool, _ context: ChannelHandlerContext
  ) -> EventLoopFuture<Void> {
    let rendered = AnswerTable.render(
      answer, wallTime: { Date(timeIntervalSinceNow: -(Instant.now - $0).fractionalSeconds) },
      retryAfter: { Int.random(in: 1...5) })
    counters.count(status: rendered.status, reason: rendered.reason)
    var headers: HTTPHeaders = ["content-type": "application/json"]
    headers.add(name: "content-length", value: "\(rendered.body.utf8.count)")
    if let seconds = rendered.retryAfter { headers.add(name: "retry-after", value: "\(seconds)") }
    if rendered.status == 405 { headers.add(name: "allow", value: "POST") }
    if rendered.status == 401 { headers.add(name: "www-authenticate", value: "Bearer") }
    if closing { headers.add(name: "connection", value: "close") }
    let responseHead = HTTPResponseHead(
      version: head.version, status: HTTPResponseStatus(statusCode: rendered.status), headers: headers)
    context.write(wrapOutboundOut(.head(responseHead)), promise: nil)
    if head.method != .HEAD {
      context.write(wrapOutboundOut(.body(.byteBuffer(ByteBuffer(string: rendered.body)))), promise: nil)
    }
    let written = context.eventLoop.makePromise(of: Void.self)
    context.writeAndFlush(wrapOutboundOut(.end(nil)), promise: written)
    return written.futureResult
  }

  func userInboundEventTriggered(context: ChannelHandlerContext, event: Any) {
    switch event {
    case is ChannelShouldQuiesceEvent:
      quiescing = true
      if case .idle = state {
        state = .closing
        context.close(promise: nil)
      }
    case IdleStateHandler.IdleStateEvent.read:
      // A request that is being answered is our own delay, which has bounds of its own.
      if case .answering = state { break }
      context.close(promise: nil)
    default: context.fireUserInboundEventTriggered(event)
    }
  }

  func errorCaught(context: ChannelHandlerContext, error: any Error) {
    // Resets and broken requests: the decoder's own handler has answered 400 where that was possible.
    context.close(promise: nil)
  }
}
