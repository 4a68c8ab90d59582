// Says 503 to a connection that is one too many, and ends it: a connection that is closed without a word looks like a
// fault of the network, and nobody would look for it here. It costs a descriptor for a second or two, so a few at a
// time are told; all others are closed at once.

internal import HTTPFraming
internal import NIOCore

final class TurnAwayHandler: ChannelInboundHandler {
  typealias InboundIn = ByteBuffer
  typealias OutboundOut = ByteBuffer

  private let shared: ListenerContext
  /// For TLS to begin, and for the client to send what it wants to send: closing a socket with unread bytes resets it,
  /// and the client might not see the answer.
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
