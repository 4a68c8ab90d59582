// A server that does what Redis never would. It isn't a stand-in for Redis, which tests have for real: it exists to send
// what only a broken server, a wrong address or an attacker sends.

import Foundation
import NIOCore
import NIOPosix
import RedisClient
import RedisFixture
import Synchronization

/// A listener on a Unix socket whose answers are up to the test.
final class HostileServer: Sendable {
  /// Handles the bytes of a client, on the connection's event loop.
  typealias Behaviour = @Sendable (_ client: any Channel, _ bytes: [UInt8]) -> Void

  let endpoint: RedisEndpoint
  private let folder: TemporaryFolder
  private let listener: any Channel
  private let counter: Counter

  /// How many clients have connected so far.
  var accepted: Int { acceptTimes.count }
  /// When each of them connected.
  var acceptTimes: [NIODeadline] { counter.accepted.withLock { $0 } }
  /// How many of them have closed again.
  var closed: Int { counter.closed.withLock { $0 } }

  private final class Counter: Sendable {
    let accepted = Mutex<[NIODeadline]>([])
    let closed = Mutex(0)
  }

  /// - Parameters:
  ///   - greeting: What the first bytes of a client are answered with; nil hands them to the behaviour too.
  ///   - behaviour: For all bytes after the greeting.
  static func start(greeting: String? = "+OK\r\n$0\r\n\r\n", _ behaviour: @escaping Behaviour)
    async throws -> HostileServer
  {
    let folder = try TemporaryFolder()
    let counter = Counter()
    let listener = try await ServerBootstrap(group: MultiThreadedEventLoopGroup.singleton)
      .childChannelInitializer { channel in
        counter.accepted.withLock { $0.append(.now()) }
        channel.closeFuture.whenComplete { _ in counter.closed.withLock { $0 += 1 } }
        return channel.eventLoop.makeCompletedFuture {
          try channel.pipeline.syncOperations.addHandler(Listener(greeting: greeting, behaviour: behaviour))
        }
      }
      .bind(unixDomainSocketPath: folder.path("hostile.sock")).get()
    return HostileServer(folder: folder, listener: listener, counter: counter)
  }

  private init(folder: TemporaryFolder, listener: any Channel, counter: Counter) {
    self.folder = folder
    self.listener = listener
    self.counter = counter
    endpoint = RedisEndpoint(address: .unix(path: folder.path("hostile.sock")))
  }

  deinit { listener.close(promise: nil) }

  private final class Listener: ChannelInboundHandler {
    typealias InboundIn = ByteBuffer
    private var greeting: String?
    private let behaviour: Behaviour

    init(greeting: String?, behaviour: @escaping Behaviour) {
      self.greeting = greeting
      self.behaviour = behaviour
    }

    func channelRead(context: ChannelHandlerContext, data: NIOAny) {
      var buffer = unwrapInboundIn(data)
      let bytes = buffer.readBytes(length: buffer.readableBytes) ?? []
      if let greeting {
        // A client says nothing else before this is answered, and it is too short to come in pieces on a Unix socket.
        self.greeting = nil
        context.channel.say(greeting)
      } else {
        behaviour(context.channel, bytes)
      }
    }

    func errorCaught(context: ChannelHandlerContext, error: any Error) { context.close(promise: nil) }
  }
}

extension Channel {
  func say(_ text: String) { say(Array(text.utf8)) }

  func say(_ bytes: some Collection<UInt8>) { writeAndFlush(ByteBuffer(bytes: bytes), promise: nil) }

  /// Closes when all that was said is on its way.
  func sayAndHangUp(_ bytes: some Collection<UInt8>) {
    writeAndFlush(ByteBuffer(bytes: bytes)).whenComplete { _ in self.close(promise: nil) }
  }
}
