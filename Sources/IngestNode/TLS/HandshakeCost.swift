// Measures how much of an event loop's time a handshake really takes. The certificate's key determines the usual time,
// but the client has an influence too: a hello of 16 KB with thousands of extensions costs several times as much, and
// each library has other such cases. So the time is measured, and the excess over the table's time is charged to the
// client too. In addition, a hello may be no larger than any that real clients send, and it waits for its turn.

internal import Listening
internal import NIOCore
internal import NIOSSL

/// A handler in front of TLS until the handshake is over.
final class HandshakeCost: ChannelDuplexHandler, RemovableChannelHandler, HandshakeTaking {
  typealias InboundIn = ByteBuffer
  typealias InboundOut = ByteBuffer
  typealias OutboundIn = ByteBuffer

  let turnOwner: TurnOwner
  private let turns: HandshakeTurns
  private let most: Int
  private let tooLarge: () -> Void
  private let ended: (Duration) -> Void
  private var records = HandshakeRecords()
  private var taken = Duration.zero
  /// Bytes that wait for a turn. Nothing more is read meanwhile.
  private var waiting: ByteBuffer?
  private var holdsRead = false
  private var context: ChannelHandlerContext?
  /// Set during a read of this handler, and checked at the end of that read.
  var isOver = false

  /// Maximum bytes of a handshake without a client certificate. A browser's hello with a post-quantum key share has
  /// 1,800, and may be requested twice.
  static let usualBytes = 6 << 10
  /// Maximum with a client certificate, which is sent with its chain.
  static let bytesWithCertificate = 64 << 10

  /// - Parameters:
  ///   - turnOwner: The client, which shares its turns with all connections of its network.
  ///   - most: Maximum bytes from the client before the handshake is over.
  ///   - tooLarge: Called when the connection is closed because it exceeds that.
  ///   - ended: Called once with the time of the event loop that the handshake has taken, also if it has failed.
  init(
    turnOwner: TurnOwner, turns: HandshakeTurns, most: Int, tooLarge: @escaping () -> Void,
    ended: @escaping (Duration) -> Void
  ) {
    self.turnOwner = turnOwner
    self.turns = turns
    self.most = most
    self.tooLarge = tooLarge
    self.ended = ended
  }

  func handlerAdded(context: ChannelHandlerContext) { self.context = context }

  func channelRead(context: ChannelHandlerContext, data: NIOAny) {
    var bytes = unwrapInboundIn(data)
    records.count(bytes.readableBytesView)
    guard records.handshakeBytes <= most else {
      tooLarge()
      return context.channel.reset()
    }
    if waiting == nil {
      waiting = bytes
      turns.append(self)
    } else {
      waiting?.writeBuffer(&bytes)
    }
  }

  func read(context: ChannelHandlerContext) {
    if waiting == nil { context.read() } else { holdsRead = true }
  }

  func goOn() {
    // The connection may have been closed while it waited.
    guard let context, let bytes = waiting else { return }
    waiting = nil
    let begun = NIODeadline.now()
    context.fireChannelRead(wrapInboundOut(bytes))
    context.fireChannelReadComplete()
    taken += .nanoseconds((NIODeadline.now() - begun).nanoseconds)
    if holdsRead {
      holdsRead = false
      context.read()
    }
    if isOver { context.pipeline.syncOperations.removeHandler(self, promise: nil) }
  }

  func channelInactive(context: ChannelHandlerContext) {
    waiting = nil
    context.fireChannelInactive()
  }

  func handlerRemoved(context: ChannelHandlerContext) {
    self.context = nil
    ended(taken)
  }
}

/// Counts the bytes of TLS records that can only belong to a handshake. A client may send its first request together
/// with the end of its handshake, so application data isn't counted.
struct HandshakeRecords {
  private(set) var handshakeBytes = 0
  /// The first bytes of a record's header: its type, two bytes of version, and two of length.
  private var header: [UInt8] = []
  private var leftOfRecord = 0
  private var isData = false

  /// RFC 8446 §5.1. In TLS 1.3 the end of a handshake has this type as well.
  private static let applicationData: UInt8 = 23

  mutating func count(_ bytes: ByteBufferView) {
    var rest = bytes
    while let first = rest.first {
      if leftOfRecord > 0 {
        let part = min(leftOfRecord, rest.count)
        leftOfRecord -= part
        if !isData { handshakeBytes += part }
        rest = rest.dropFirst(part)
        continue
      }
      header.append(first)
      rest = rest.dropFirst()
      guard header.count == 5 else { continue }
      isData = header[0] == Self.applicationData
      leftOfRecord = Int(header[3]) << 8 | Int(header[4])
      if !isData { handshakeBytes += header.count }
      header.removeAll(keepingCapacity: true)
    }
  }
}
