// A handler in front of a listening socket's `accept`. It limits how many accepted connections are open at once, and
// pauses when accepting fails.
//
// Without the limit, connections over it would stay open and uncounted until a busy event loop closes them. Without the
// pause, the socket stays readable while `accept` fails with EMFILE. NIO tries again at once, for ever, and uses a
// whole processor. The error isn't passed on, because it would end the task that reads connections from the listener.

internal import Foundation
internal import Logging
internal import NIOCore

final class AcceptGate: ChannelDuplexHandler {
  typealias InboundIn = any Channel
  typealias InboundOut = any Channel
  typealias OutboundIn = Never

  private let capacity: Int
  private let batch: Int
  private let failures: AcceptFailures
  /// Connections that were accepted and aren't closed yet.
  private(set) var open = 0
  private var isReadHeld = false
  private var pauses = AcceptPause()
  private var retry: Scheduled<Void>?

  /// - Parameters:
  ///   - name: The listener's name, for the log and the metrics.
  ///   - part: How many connections may be open, and how many are accepted at once: the channel must have the same
  ///     setting.
  init(_ name: String, _ part: DescriptorPlan.Listener, logger: Logger) {
    capacity = part.descriptors
    batch = part.batch
    failures = AcceptFailures(of: name, logger: logger)
  }

  func read(context: ChannelHandlerContext) {
    if retry == nil, open + batch <= capacity {
      isReadHeld = false
      context.read()
    } else {
      isReadHeld = true
    }
  }

  func channelRead(context: ChannelHandlerContext, data: NIOAny) {
    open += 1
    pauses.reset()
    unwrapInboundIn(data).closeFuture.hop(to: context.eventLoop).assumeIsolated().whenComplete { _ in
      self.open -= 1
      if self.isReadHeld { self.read(context: context) }
    }
    context.fireChannelRead(data)
  }

  func errorCaught(context: ChannelHandlerContext, error: any Error) {
    failures.note(error)
    guard retry == nil else { return }
    let pause = pauses.after((error as? IOError)?.errnoCode ?? EIO)
    guard pause > .zero else { return }
    // Holding back the next read isn't enough: NIO considers the failed read unanswered, and continues it.
    setAutoRead(false, context)
    isReadHeld = true
    retry = context.eventLoop.assumeIsolated().scheduleTask(in: pause) {
      self.retry = nil
      self.setAutoRead(true, context)
      if self.isReadHeld { self.read(context: context) }
    }
  }

  private func setAutoRead(_ value: Bool, _ context: ChannelHandlerContext) {
    do {
      try context.channel.syncOptions?.setOption(.autoRead, value: value)
    } catch {
      // The listener is closed, and accepts no more connections.
    }
  }

  func channelInactive(context: ChannelHandlerContext) {
    retry?.cancel()
    context.fireChannelInactive()
  }
}
