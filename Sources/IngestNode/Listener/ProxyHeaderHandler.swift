// Reads the header of the PROXY protocol, in which a load balancer names the client of a connection, before everything
// else on the connection. The following handlers are added to the pipeline once the client is known, because a
// connection over that client's limit is turned away.

internal import ClientAddress
internal import NIOCore

/// Reads the header, and then removes itself.
final class ProxyHeaderHandler: ChannelInboundHandler, RemovableChannelHandler {
  typealias InboundIn = ByteBuffer
  typealias InboundOut = ByteBuffer

  private let deadline: TimeAmount
  private let refused: (_ reason: String) -> Void
  private let began: (_ source: IPAddress?) throws -> Void
  /// The received bytes. At most the longest header and one more read, because each read is parsed at once.
  private var input = ByteBuffer()
  private var isRefused = false
  private var timer: Scheduled<Void>?

  /// - Parameters:
  ///   - deadline: Maximum time for the whole header.
  ///   - refused: Called with the reason when the connection is closed.
  ///   - began: Adds the following handlers. Gets the client's address, or nil for the load balancer's own connection.
  init(
    deadline: TimeAmount, refused: @escaping (_ reason: String) -> Void,
    began: @escaping (_ source: IPAddress?) throws -> Void
  ) {
    self.deadline = deadline
    self.refused = refused
    self.began = began
  }

  func channelActive(context: ChannelHandlerContext) {
    timer = context.eventLoop.assumeIsolated().scheduleTask(in: deadline) {
      self.refuse("no header of the PROXY protocol came in time", context)
    }
    context.fireChannelActive()
  }

  /// The capacity of the handler's buffer in bytes.
  var keptBytes: Int { input.capacity }

  func channelRead(context: ChannelHandlerContext, data: NIOAny) {
    guard !isRefused else { return }
    var bytes = unwrapInboundIn(data)
    input.writeBuffer(&bytes)
    switch ProxyHeader.parse(input.readableBytesSpan) {
    case .incomplete: break
    case .refused(let refusal): refuse(refusal.reason, context)
    case .complete(let length, let source):
      timer?.cancel()
      input.moveReaderIndex(forwardBy: length)
      do {
        try began(source)
      } catch {
        return refuse("what follows the header of the PROXY protocol can't be served: \(error)", context)
      }
      if input.readableBytes > 0 { context.fireChannelRead(wrapInboundOut(input)) }
      context.pipeline.syncOperations.removeHandler(self, promise: nil)
    }
  }

  func channelInactive(context: ChannelHandlerContext) {
    timer?.cancel()
    context.fireChannelInactive()
  }

  func errorCaught(context: ChannelHandlerContext, error: any Error) { context.close(promise: nil) }

  private func refuse(_ reason: String, _ context: ChannelHandlerContext) {
    isRefused = true
    input = ByteBuffer()
    timer?.cancel()
    refused(reason)
    context.close(promise: nil)
  }
}
