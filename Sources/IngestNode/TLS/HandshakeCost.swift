// What a handshake really takes of an event loop. The certificate's key says what it should take, but the client has a say too: a hello of 16 KB with thousands of
// extensions costs several times as much, and each library finds other ways. So the time is measured, and what it was above the table's is charged to the
// client as well. And a hello may be no larger than any that real clients send.

internal import NIOCore
internal import NIOSSL

/// Stands before TLS until the handshake is over.
final class HandshakeCost: ChannelInboundHandler, RemovableChannelHandler {
  typealias InboundIn = ByteBuffer
  typealias InboundOut = ByteBuffer

  private let most: Int
  private let tooLarge: () -> Void
  private let ended: (Duration) -> Void
  private var received = 0
  private var taken = Duration.zero
  /// Set within a read of this handler's, whose end counts too.
  var isOver = false

  /// Bytes of a handshake without a client's certificate. A browser's hello with a post-quantum key share has 1,800, and may be asked for twice.
  static let usualBytes = 6 << 10
  /// With one, whose chain comes too.
  static let bytesWithCertificate = 64 << 10

  /// - Parameters:
  ///   - most: Bytes that the client may send before the handshake is over.
  ///   - tooLarge: Told that the connection is closed for it.
  ///   - ended: Told how much of the event loop the handshake has taken, once: also where it has failed.
  init(most: Int, tooLarge: @escaping () -> Void, ended: @escaping (Duration) -> Void) {
    self.most = most
    self.tooLarge = tooLarge
    self.ended = ended
  }

  func channelRead(context: ChannelHandlerContext, data: NIOAny) {
    received += unwrapInboundIn(data).readableBytes
    guard received <= most else {
      tooLarge()
      return context.channel.reset()
    }
    let begun = NIODeadline.now()
    context.fireChannelRead(data)
    taken += .nanoseconds((NIODeadline.now() - begun).nanoseconds)
    if isOver { context.pipeline.syncOperations.removeHandler(self, promise: nil) }
  }

  func handlerRemoved(context: ChannelHandlerContext) { ended(taken) }
}
