// Answers 503 to a connection over the limit, and closes it. A connection that is closed without an answer looks like a
// fault of the network, and nobody would look for the cause in this node. The answer costs a descriptor for a second or
// two, so only a few connections at a time are answered; all others are closed at once.

internal import HTTPFraming
internal import NIOCore

final class TurnAwayHandler: ChannelInboundHandler {
  typealias InboundIn = ByteBuffer
  typealias OutboundOut = ByteBuffer

  private let shared: ListenerContext
  /// Maximum time for the TLS handshake, and for the client to send its request. Closing a socket with unread bytes
  /// resets it, and the client might not receive the answer.
  private static let patience = TimeAmount.seconds(1)

  init(shared: ListenerContext) { self.shared = shared }

  func handlerAdded(context: ChannelHandlerContext) {
    if context.channel.isActive { say(context) }
  }

  func channelActive(context: ChannelHandlerContext) {
    say(context)
    context.fireChannelActive()
  }

  private func say(_ context: ChannelHandlerContext) {
    let response = shared.refusal(.unavailable(.tooManyConnections), in: shared.fallback, .other)
    var buffer = context.channel.allocator.buffer(capacity: response.capacity())
    buffer.writeWithOutputRawSpan(minimumWritableBytes: response.capacity()) { response.write(.last, to: &$0) }
    context.writeAndFlush(wrapOutboundOut(buffer)).assumeIsolated().whenComplete { _ in
      context.close(mode: .output, promise: nil)
    }
    context.eventLoop.assumeIsolated().scheduleTask(in: Self.patience) { context.close(promise: nil) }
  }

  func channelRead(context: ChannelHandlerContext, data: NIOAny) {}

  func userInboundEventTriggered(context: ChannelHandlerContext, event: Any) {
    if case ChannelEvent.inputClosed = event { context.close(promise: nil) }
  }

  func errorCaught(context: ChannelHandlerContext, error: any Error) { context.close(promise: nil) }
}
