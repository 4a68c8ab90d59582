// A deadline for the TLS handshake. The handler after TLS in the pipeline gets no event until the handshake is over, so it
// can't distinguish a slow handshake from an idle connection. A client that sends its hello byte by byte would be given
// the longer idle time.

internal import Listening
internal import NIOCore
internal import NIOTLS

/// Closes a connection that takes too long for its handshake. Removes itself when the handshake is over.
final class HandshakeDeadline: ChannelInboundHandler, RemovableChannelHandler {
  typealias InboundIn = NIOAny
  typealias InboundOut = NIOAny

  private let deadline: TimeAmount
  private let missed: () -> Void
  private let cost: HandshakeCost?
  private var timer: Scheduled<Void>?

  /// - Parameters:
  ///   - deadline: Counted from now, or from the beginning of the connection.
  ///   - cost: Gets its `isOver` set when the handshake is over, because handlers in front of TLS get no event for
  ///     that.
  ///   - missed: Called when the connection is closed because of the deadline.
  init(deadline: TimeAmount, behind cost: HandshakeCost? = nil, missed: @escaping () -> Void) {
    self.deadline = deadline
    self.cost = cost
    self.missed = missed
  }

  func handlerAdded(context: ChannelHandlerContext) {
    if context.channel.isActive { start(context) }
  }

  func handlerRemoved(context: ChannelHandlerContext) { timer?.cancel() }

  func channelActive(context: ChannelHandlerContext) {
    start(context)
    context.fireChannelActive()
  }

  private func start(_ context: ChannelHandlerContext) {
    guard timer == nil else { return }
    timer = context.eventLoop.assumeIsolated().scheduleTask(in: deadline) {
      self.missed()
      context.channel.reset()
    }
  }

  func userInboundEventTriggered(context: ChannelHandlerContext, event: Any) {
    if case TLSUserEvent.handshakeCompleted = event {
      timer?.cancel()
      context.fireUserInboundEventTriggered(event)
      context.pipeline.syncOperations.removeHandler(self, promise: nil)
      cost?.isOver = true
    } else {
      context.fireUserInboundEventTriggered(event)
    }
  }

  func channelInactive(context: ChannelHandlerContext) {
    timer?.cancel()
    context.fireChannelInactive()
  }
}
