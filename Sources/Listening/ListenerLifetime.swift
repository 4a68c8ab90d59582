// Waits for the end of the listeners for load balancers and operators. The push listener ends differently: it has a
// grace period, and its connections have a deadline.

package import NIOCore
package import NIOExtras
internal import ServiceLifecycle

package enum ListenerLifetime {
  /// Waits until the node ends, and then until the listener's connections have ended.
  /// - Parameters:
  ///   - channel: The listening socket.
  ///   - quiescing: Ends the connections, each after its request in progress.
  ///   - purpose: The listener's purpose, for the error.
  /// - Throws: ``ListenerClosedByItself``.
  package static func wait(
    for channel: any Channel, endedBy quiescing: ServerQuiescingHelper, purpose: String
  ) async throws {
    let ended = channel.eventLoop.makePromise(of: Void.self)
    let stopping = StopFlag()
    channel.closeFuture.whenComplete { _ in
      // Closing is the first step of a graceful stop, and a failure of the node at any other time.
      if !stopping.isSet { ended.fail(ListenerClosedByItself(purpose: purpose)) }
    }
    try await withTaskCancellationOrGracefulShutdownHandler {
      try await ended.futureResult.get()
    } onCancelOrGracefulShutdown: {
      stopping.set()
      quiescing.initiateShutdown(promise: ended)
    }
  }
}

/// The listening socket was closed, but not by the node.
struct ListenerClosedByItself: Error, CustomStringConvertible {
  let purpose: String
  var description: String { "the listening socket for \(purpose) closed by itself" }
}
