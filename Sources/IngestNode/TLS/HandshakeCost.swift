// Measures how much of an event loop's time a handshake really takes. The certificate's key determines the usual time,
// but the client has an influence too: a hello of 16 KB with thousands of extensions costs several times as much, and
// each library has other such cases. So the time is measured, and the excess over the table's time is charged to the
// client too. In addition, a hello may be no larger than any that real clients send.

internal import NIOCore
internal import NIOSSL

/// A handler in front of TLS until the handshake is over.
final class HandshakeCost: ChannelInboundHandler, RemovableChannelHandler {
  typealias InboundIn = ByteBuffer
  typealias InboundOut = ByteBuffer

  private let most: Int
  private let tooLarge: () -> Void
  private let ended: (Duration) -> Void
  private var received = 0
  private var taken = Duration.zero
  /// Set during a read of this handler, and checked at the end of that read.
  var isOver = false

  /// Maximum bytes of a handshake without a client certificate. A browser's hello with a post-quantum key share has
  /// 1,800, and may be requested twice.
  static let usualBytes = 6 << 10
  /// Maximum with a client certificate, which is sent with its chain.
  static let bytesWithCertificate = 64 << 10

  /// - Parameters:
  ///   - most: Maximum bytes from the client before the handshake is over.
  ///   - tooLarge: Called when the connection is closed because it exceeds that.
  ///   - ended: Called once with the time of the event loop that the handshake has taken, also if it has failed.
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
