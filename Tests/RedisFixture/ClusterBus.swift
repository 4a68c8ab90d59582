// The way by which a node of a cluster hears of the others. It leads through a relay for each node, so that a test can
// cut one off from all others while clients still reach it: that is what a partition looks like from the clients' side.

import NIOCore
import NIOPosix
import Synchronization

/// A node's bus port behind a relay, which can reject some nodes. Nodes are distinguished by their source addresses.
final class ClusterBus: Sendable {
  fileprivate struct State {
    var shut: Set<String> = []
    /// Both sides of each connection, and its source.
    var open: [ObjectIdentifier: (channel: any Channel, from: String)] = [:]
  }

  private let state: Shared
  private let listener: any Channel

  fileprivate final class Shared: Sendable {
    let state = Mutex(State())
  }

  private init(listener: any Channel, state: Shared) {
    self.listener = listener
    self.state = state
  }

  var port: Int { listener.localAddress?.port ?? 0 }

  static func start(to port: Int) async throws -> ClusterBus {
    let shared = Shared()
    let listener = try await ServerBootstrap(group: MultiThreadedEventLoopGroup.singleton)
      .childChannelInitializer { inbound in
        let from = inbound.remoteAddress?.ipAddress ?? ""
        guard shared.state.withLock({ !$0.shut.contains(from) }) else {
          return inbound.close()
        }
        shared.note(inbound, from: from)
        // Nothing is read before both are there: this side isn't active yet, and a bus doesn't speak first.
        return ClientBootstrap(group: inbound.eventLoop)
          .connect(host: "127.0.0.1", port: port)
          .flatMap { outbound in
            shared.note(outbound, from: from)
            return inbound.eventLoop.makeCompletedFuture {
              try inbound.pipeline.syncOperations.addHandler(Relay(to: outbound))
              try outbound.pipeline.syncOperations.addHandler(Relay(to: inbound))
            }
          }
      }
      .bind(host: "127.0.0.1", port: 0).get()
    return ClusterBus(listener: listener, state: shared)
  }

  /// Rejects new connections from these addresses, and closes those that are open.
  func shut(to addresses: Set<String>) {
    let channels = state.state.withLock { state in
      state.shut = addresses
      return state.open.values.filter { addresses.contains($0.from) }.map(\.channel)
    }
    for channel in channels { channel.close(promise: nil) }
  }

  func end() { listener.close(promise: nil) }

  /// Passes on what comes, and closes when its side is closed.
  private final class Relay: ChannelInboundHandler {
    typealias InboundIn = ByteBuffer

    private let other: any Channel

    init(to other: any Channel) { self.other = other }

    func channelRead(context: ChannelHandlerContext, data: NIOAny) {
      other.writeAndFlush(unwrapInboundIn(data), promise: nil)
    }

    func channelInactive(context: ChannelHandlerContext) { other.close(promise: nil) }

    func errorCaught(context: ChannelHandlerContext, error: any Error) { context.close(promise: nil) }
  }
}

extension ClusterBus.Shared {
  func note(_ channel: any Channel, from address: String) {
    let id = ObjectIdentifier(channel)
    state.withLock { $0.open[id] = (channel, address) }
    channel.closeFuture.whenComplete { _ in self.state.withLock { $0.open[id] = nil } }
  }
}
