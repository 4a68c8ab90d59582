// The deadlines of a connection to an HTTP listener. This handler is in front of HTTP and uses only the times at which
// bytes arrive and leave. So no client can hold the connection for longer than an answer takes, and after that for
// longer than a connection may be idle. Rejected: a deadline for each state of HTTP. A handler with such deadlines must
// know all states, and a forgotten state once kept connections for ever.

package import NIOCore

package struct HTTPDeadlines: Sendable {
  /// From a request's first byte until its answer is in the kernel's buffer. Also from a connection's beginning until
  /// its first request.
  package var request: TimeAmount
  /// From an answer to the next request. Prometheus scrapes every 15 to 60 s.
  package var idle: TimeAmount
  /// Maximum time for the client to close its side after this side is closed.
  package var goodbye: TimeAmount

  package init(
    request: TimeAmount = .seconds(10), idle: TimeAmount = .seconds(75), goodbye: TimeAmount = .seconds(2)
  ) {
    self.request = request
    self.idle = idle
    self.goodbye = goodbye
  }
}

final class HTTPDeadlineHandler: ChannelDuplexHandler {
  typealias InboundIn = NIOAny
  typealias OutboundIn = NIOAny

  private enum Phase {
    case idle
    case request
    case goodbye
  }

  private let deadlines: HTTPDeadlines
  private let answered: () -> Void
  private var phase = Phase.request
  private var timer: Scheduled<Void>?

  /// - Parameter answered: Called when an answer, or a part of it, is in the kernel's buffer.
  init(_ deadlines: HTTPDeadlines, answered: @escaping () -> Void) {
    self.deadlines = deadlines
    self.answered = answered
  }

  func channelActive(context: ChannelHandlerContext) {
    enter(.request, context)
    context.fireChannelActive()
  }

  func channelRead(context: ChannelHandlerContext, data: NIOAny) {
    if phase == .idle { enter(.request, context) }
    context.fireChannelRead(data)
  }

  func write(context: ChannelHandlerContext, data: NIOAny, promise: EventLoopPromise<Void>?) {
    let promise = promise ?? context.eventLoop.makePromise(of: Void.self)
    promise.futureResult.assumeIsolated().whenSuccess {
      guard self.phase != .goodbye, context.channel.isActive else { return }
      self.answered()
      self.enter(.idle, context)
    }
    context.write(data, promise: promise)
  }

  func close(context: ChannelHandlerContext, mode: CloseMode, promise: EventLoopPromise<Void>?) {
    if mode == .output { enter(.goodbye, context) }
    context.close(mode: mode, promise: promise)
  }

  func channelInactive(context: ChannelHandlerContext) {
    timer?.cancel()
    context.fireChannelInactive()
  }

  private func enter(_ new: Phase, _ context: ChannelHandlerContext) {
    phase = new
    timer?.cancel()
    let deadline =
      switch new {
      case .idle: deadlines.idle
      case .request: deadlines.request
      case .goodbye: deadlines.goodbye
      }
    timer = context.eventLoop.assumeIsolated().scheduleTask(in: deadline) { context.channel.reset() }
  }
}
