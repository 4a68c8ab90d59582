// Limits the bytes of an answer before anything parses it. NIO's parser limits a head's fields, but not its reason
// phrase, the number of interim answers (1xx) or a chunk's extensions, so a receiver that never stops sending these
// would fill the worker's memory.

internal import NIOCore

/// Closes the connection if an answer has more than the maximum bytes. HTTP/1.1 only: one request at a time.
final class ResponseBound: ChannelDuplexHandler {
  typealias InboundIn = ByteBuffer
  typealias InboundOut = ByteBuffer
  typealias OutboundIn = IOData
  typealias OutboundOut = IOData

  struct Exceeded: Error, CustomStringConvertible {
    let limit: Int
    var description: String { "its answer has more than \(limit) bytes" }
  }

  private let limit: Int
  /// Bytes since the last write.
  private var received = 0

  init(limit: Int) { self.limit = limit }

  func write(context: ChannelHandlerContext, data: NIOAny, promise: EventLoopPromise<Void>?) {
    received = 0
    context.write(data, promise: promise)
  }

  func channelRead(context: ChannelHandlerContext, data: NIOAny) {
    received += unwrapInboundIn(data).readableBytes
    guard received <= limit else {
      context.fireErrorCaught(Exceeded(limit: limit))
      return context.close(promise: nil)
    }
    context.fireChannelRead(data)
  }
}
