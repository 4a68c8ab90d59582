// The connections of a listener. When it ends, each is told to end after its request in progress, and all are awaited.

internal import NIOCore
internal import NIOExtras
internal import Synchronization

/// Channels that are open, from any thread.
final class OpenConnections: Sendable {
  private struct State {
    /// Accepted, and not set up yet.
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
  /// - Parameter promise: Succeeds when there are none.
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
