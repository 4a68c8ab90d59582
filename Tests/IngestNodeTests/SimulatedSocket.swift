// What NIO's socket does and its `EmbeddedChannel` doesn't: it reads only when it is asked to, it isn't writable while
// too much waits for the client, ending the output isn't closing, and closing throws away what still waits. Connections
// are tested on this and not on real sockets because here every byte, every reading and every second is the test's own.
// `LoopbackTests` look whether real ones do the same.

import NIOCore
import NIOEmbedded

/// The end of an embedded channel's pipeline.
final class SimulatedSocket: ChannelDuplexHandler {
  typealias InboundIn = ByteBuffer
  typealias OutboundIn = ByteBuffer

  /// NIO's default.
  static let writabilityMark = 64 << 10

  /// All that the client got.
  private(set) var delivered: [UInt8] = []
  private(set) var outputIsClosed = false
  /// Whether there was a read that wasn't fulfilled yet.
  var wantsRead = false
  /// What waits for the client to read.
  private(set) var waiting = 0
  /// The most that ever waited.
  private(set) var mostWaiting = 0
  /// Whether the client reads what is written.
  private var isRead = true
  /// Whether the client said that it sends nothing more.
  var inputIsClosed = false
  /// The waiting input, in order; nil is the end.
  private var writes: [(bytes: ByteBuffer?, promise: EventLoopPromise<Void>?)] = []
  private var flushed = 0
  private var context: ChannelHandlerContext?

  func handlerAdded(context: ChannelHandlerContext) { self.context = context }
  func handlerRemoved(context: ChannelHandlerContext) { self.context = nil }

  /// The client reads nothing any more.
  func stall() { isRead = false }

  /// The client reads again.
  func resume() {
    isRead = true
    deliver()
  }

  func read(context: ChannelHandlerContext) { wantsRead = true }

  func write(context: ChannelHandlerContext, data: NIOAny, promise: EventLoopPromise<Void>?) {
    guard !outputIsClosed else {
      promise?.fail(ChannelError.outputClosed)
      return
    }
    let bytes = unwrapOutboundIn(data)
    writes.append((bytes, promise))
    waiting += bytes.readableBytes
    mostWaiting = max(mostWaiting, waiting)
    tellWritability()
  }

  func flush(context: ChannelHandlerContext) {
    flushed = writes.count
    deliver()
  }

  private func deliver() {
    while isRead, flushed > 0 {
      let (bytes, promise) = writes.removeFirst()
      flushed -= 1
      if let bytes {
        delivered += bytes.readableBytesView
        waiting -= bytes.readableBytes
      } else {
        outputIsClosed = true
      }
      promise?.succeed()
    }
    tellWritability()
  }

  private func tellWritability() {
    guard let context, let channel = context.channel as? EmbeddedChannel else { return }
    let isWritable = waiting <= (channel.isWritable ? Self.writabilityMark : Self.writabilityMark / 2)
    guard isWritable != channel.isWritable else { return }
    channel.isWritable = isWritable
    context.fireChannelWritabilityChanged()
  }

  func close(context: ChannelHandlerContext, mode: CloseMode, promise: EventLoopPromise<Void>?) {
    switch mode {
    // Both sides are at their end then, and NIO doesn't wait for what isn't sent.
    case .output where !inputIsClosed:
      writes.append((nil, promise))
      flush(context: context)
    case .input: promise?.fail(ChannelError.operationUnsupported)
    case .output, .all:
      let lost = writes
      writes = []
      flushed = 0
      for write in lost { write.promise?.fail(ChannelError.ioOnClosedChannel) }
      context.close(mode: .all, promise: promise)
    }
  }
}
