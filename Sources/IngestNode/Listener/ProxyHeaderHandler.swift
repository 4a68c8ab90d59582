// The PROXY protocol before everything else on a connection: a balancer's word on whose connection it passes on. What follows the header
// is added to the pipeline once it is known, since a connection too many from that client is one to turn away.

internal import ClientAddress
internal import NIOCore

/// Reads the header, and then steps aside.
final class ProxyHeaderHandler: ChannelInboundHandler, RemovableChannelHandler {
  typealias InboundIn = ByteBuffer
  typealias InboundOut = ByteBuffer

  private let deadline: TimeAmount
  private let refused: (_ reason: String) -> Void
  private let began: (_ source: IPAddress?) throws -> Void
  /// What has come. Less than the longest header has, and one reading, since each reading is looked at.
  private var input = ByteBuffer()
  private var isRefused = false
  private var timer: Scheduled<Void>?

  /// - Parameters:
  ///   - deadline: For the header to come.
  ///   - refused: Told why the connection is closed.
  ///   - began: Adds what follows; with the client's address, or nil where the balancer speaks for itself.
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

  /// How many bytes its buffer has room for.
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
