// A handler in front of a listening socket's `accept`. It limits how many accepted connections are open at once, and
// pauses when accepting fails.
//
// Without the limit, connections over it would stay open and uncounted until a busy event loop closes them. Without the
// pause, the socket stays readable while `accept` fails with EMFILE. NIO tries again at once, for ever, and uses a
// whole processor. The error isn't passed on, because it would end the task that reads connections from the listener.

internal import Foundation
package import Logging
package import NIOCore

package final class AcceptGate: ChannelDuplexHandler {
  package typealias InboundIn = any Channel
  package typealias InboundOut = any Channel
  package typealias OutboundIn = Never

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
  package init(_ name: String, _ part: ListenerPart, logger: Logger) {
    capacity = part.descriptors
    batch = part.batch
    failures = AcceptFailures(of: name, logger: logger)
  }

  package func read(context: ChannelHandlerContext) {
    if retry == nil, open + batch <= capacity {
      isReadHeld = false
      context.read()
    } else {
      isReadHeld = true
    }
  }

  package func channelRead(context: ChannelHandlerContext, data: NIOAny) {
    open += 1
    pauses.reset()
    unwrapInboundIn(data).closeFuture.hop(to: context.eventLoop).assumeIsolated().whenComplete { _ in
      self.open -= 1
      if self.isReadHeld { self.read(context: context) }
    }
    context.fireChannelRead(data)
  }

  package func errorCaught(context: ChannelHandlerContext, error: any Error) {
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

  package func channelInactive(context: ChannelHandlerContext) {
    retry?.cancel()
    context.fireChannelInactive()
  }
}
