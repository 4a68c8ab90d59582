// A deadline for TLS's handshake. The handler behind TLS hears nothing before the handshake is over and would take a
// client that sends its hello byte by byte for an idle connection.

internal import NIOCore
internal import NIOTLS

/// Closes a connection whose handshake takes too long; removes itself when the handshake is over.
final class HandshakeDeadline: ChannelInboundHandler, RemovableChannelHandler {
  typealias InboundIn = NIOAny
  typealias InboundOut = NIOAny

  private let deadline: TimeAmount
  private let missed: () -> Void
  private let cost: HandshakeCost?
  private var timer: Scheduled<Void>?

  /// - Parameters:
  ///   - deadline: From now, or from when the connection begins.
  ///   - cost: Is told when the handshake is over: in front of TLS nothing is heard of it.
  ///   - missed: Told that the connection is closed for it.
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
