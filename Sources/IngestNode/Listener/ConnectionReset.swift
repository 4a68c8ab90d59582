// Closing a connection at once, whatever state it is in. An orderly end takes time: TLS waits for the client's goodbye,
// and the kernel for it to take what was sent. Both are at the mercy of a client that is being closed because it had
// too many connections or too much time.

internal import Foundation
internal import NIOCore
internal import NIOPosix
internal import NIOSSL

extension Channel {
  /// Closes the connection with a reset: its descriptor is free at once, and nothing of it lingers in the kernel. To be
  /// called on its event loop.
  func reset() {
    resetWhenClosed()
    closeAtOnce()
  }

  /// Lets closing the connection, by whomever, be a reset. To be called on its event loop.
  func resetWhenClosed() {
    eventLoop.preconditionInEventLoop()
    if let socket = self as? any SocketOptionProvider {
      // Where this fails the connection is closed already.
      socket.setSoLinger(linger(l_onoff: 1, l_linger: 0)).whenFailure { _ in }
    }
  }

  /// Closes the connection without waiting for the client. What the kernel has taken still reaches it. To be called on
  /// its event loop.
  func closeAtOnce() {
    eventLoop.preconditionInEventLoop()
    do {
      // From behind TLS's handler, which would say goodbye and wait.
      try pipeline.syncOperations.context(handlerType: NIOSSLServerHandler.self).close(promise: nil)
    } catch {
      // There is no TLS on it.
      close(promise: nil)
    }
  }
}
