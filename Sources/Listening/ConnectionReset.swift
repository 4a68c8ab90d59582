// Closes a connection at once, in any state. An orderly close takes time: TLS waits for the client's close, and the
// kernel waits until it has sent everything. A client that is closed because it had too many connections or took too
// much time could delay both.

internal import Foundation
package import NIOCore
internal import NIOPosix
internal import NIOSSL

extension Channel {
  /// Closes the connection with a reset: its descriptor is free at once, and the kernel keeps nothing of it. Call it on
  /// the channel's event loop.
  package func reset() {
    resetWhenClosed()
    closeAtOnce()
  }

  /// Makes any later closing of the connection a reset. Call it on the channel's event loop.
  package func resetWhenClosed() {
    eventLoop.preconditionInEventLoop()
    if let socket = self as? any SocketOptionProvider {
      // If this fails, the connection is closed already.
      socket.setSoLinger(linger(l_onoff: 1, l_linger: 0)).whenFailure { _ in }
    }
  }

  /// Closes the connection without waiting for the client. Bytes that the kernel has accepted still reach the client.
  /// Call it on the channel's event loop.
  package func closeAtOnce() {
    eventLoop.preconditionInEventLoop()
    do {
      // The close begins at TLS's handler, so that the handler doesn't send its own close and wait.
      try pipeline.syncOperations.context(handlerType: NIOSSLServerHandler.self).close(promise: nil)
    } catch {
      // The connection has no TLS.
      close(promise: nil)
    }
  }
}
