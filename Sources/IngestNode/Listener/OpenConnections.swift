// The connections of a listener. When the listener ends, each one ends after its request in progress, and the listener
// waits for all.

internal import NIOCore
internal import NIOExtras
internal import Synchronization

/// Channels that are open, from any thread.
final class OpenConnections: Sendable {
  private struct State {
    /// Accepted connections that aren't set up yet.
    var coming = 0
    var channels: [ObjectIdentifier: any Channel] = [:]
    var isEnding = false
    var ended: EventLoopPromise<Void>?

    var ifEmpty: EventLoopPromise<Void>? { channels.isEmpty && coming == 0 ? ended : nil }
  }

  private let state = Mutex(State())

  /// Accepted connections that aren't set up yet.
  var coming: Int { state.withLock { $0.coming } }

  /// Call it for an accepted connection. ``add(_:)`` or ``cameToNothing()`` follows.
  func expect() { state.withLock { $0.coming += 1 } }

  func cameToNothing() {
    let ended = state.withLock { state in
      state.coming -= 1
      return state.ifEmpty
    }
    ended?.succeed()
  }

  /// - Parameter channel: A channel that is set up, on its event loop.
  func add(_ channel: any Channel) {
    let id = ObjectIdentifier(channel)
    let isEnding = state.withLock { state in
      state.coming -= 1
      state.channels[id] = channel
      return state.isEnding
    }
    channel.closeFuture.assumeIsolated().whenComplete { _ in
      let ended = self.state.withLock { state -> EventLoopPromise<Void>? in
        state.channels[id] = nil
        return state.ifEmpty
      }
      ended?.succeed()
    }
    if isEnding { Self.end(channel) }
  }

  /// Ends all connections. No more are accepted.
  /// - Parameter promise: Succeeds when no connection is left.
  func end(_ promise: EventLoopPromise<Void>) {
    let (channels, ended) = state.withLock { state in
      state.isEnding = true
      state.ended = promise
      return (Array(state.channels.values), state.ifEmpty)
    }
    ended?.succeed()
    for channel in channels { channel.eventLoop.execute { Self.end(channel) } }
  }

  private static func end(_ channel: any Channel) {
    channel.pipeline.fireUserInboundEventTriggered(ChannelShouldQuiesceEvent())
  }
}
