// How many connections there may be, in all and from one address. One too many is told so: a connection that is closed without a word looks like
// a fault of the network, and nobody would look for it here.

internal import ClientAddress
internal import HTTPFraming
internal import NIOCore
internal import Synchronization

/// Counts connections, from any thread.
final class ConnectionLimiter: Sendable {
  private struct Counts {
    var all = 0
    var byAddress: [IPAddress: Int] = [:]
  }

  private let limit: Int
  private let limitByAddress: Int
  private let counts = Mutex(Counts())

  init(limit: Int, limitByAddress: Int = .max) {
    self.limit = limit
    self.limitByAddress = limitByAddress
  }

  var current: Int { counts.withLock(\.all) }

  /// A connection has come.
  /// - Returns: nil where it is one too many.
  func enter() -> ConnectionPlace? {
    let hasRoom = counts.withLock { counts in
      guard counts.all < limit else { return false }
      counts.all += 1
      return true
    }
    return hasRoom ? ConnectionPlace(self) : nil
  }

  fileprivate func enter(from address: IPAddress) -> Bool {
    counts.withLock { counts in
      guard counts.byAddress[address, default: 0] < limitByAddress else { return false }
      counts.byAddress[address, default: 0] += 1
      return true
    }
  }

  fileprivate func leave(from address: IPAddress?) {
    counts.withLock { counts in
      counts.all -= 1
      guard let address, let count = counts.byAddress[address] else { return }
      counts.byAddress[address] = count > 1 ? count - 1 : nil
    }
  }
}

/// One connection's place among all of them. Given back once, however often that is said.
final class ConnectionPlace {
  private let limiter: ConnectionLimiter
  private var address: IPAddress?
  private var isGivenBack = false

  fileprivate init(_ limiter: ConnectionLimiter) { self.limiter = limiter }

  /// The connection is from this address. Where there are too many from it already, the place is given back at once: a flood from one
  /// address that is turned away takes no room from others.
  /// - Returns: Whether there may be one more.
  func claim(_ address: IPAddress) -> Bool {
    guard limiter.enter(from: address) else {
      giveBack()
      return false
    }
    self.address = address
    return true
  }

  func giveBack() {
    guard !isGivenBack else { return }
    isGivenBack = true
    limiter.leave(from: address)
  }
}

/// Says 503 to a connection that is one too many, and ends it.
final class TurnAwayHandler: ChannelInboundHandler {
  typealias InboundIn = ByteBuffer
  typealias OutboundOut = ByteBuffer

  private let shared: PushFront
  /// For TLS to begin, and for the client to send what it wants to send: closing a socket with unread bytes resets it, and the client might
  /// not see the answer.
  private static let patience = TimeAmount.seconds(1)

  init(shared: PushFront) { self.shared = shared }

  func handlerAdded(context: ChannelHandlerContext) {
    if context.channel.isActive { say(context) }
  }

  func channelActive(context: ChannelHandlerContext) {
    say(context)
    context.fireChannelActive()
  }

  private func say(_ context: ChannelHandlerContext) {
    let response = shared.refusal(.unavailable(.tooManyConnections), in: shared.fallback, .other)
    var buffer = context.channel.allocator.buffer(capacity: response.capacity())
    buffer.writeWithOutputRawSpan(minimumWritableBytes: response.capacity()) { response.write(.last, to: &$0) }
    context.writeAndFlush(wrapOutboundOut(buffer)).assumeIsolated().whenComplete { _ in
      context.close(mode: .output, promise: nil)
    }
    context.eventLoop.assumeIsolated().scheduleTask(in: Self.patience) { context.close(promise: nil) }
  }

  func channelRead(context: ChannelHandlerContext, data: NIOAny) {}

  func userInboundEventTriggered(context: ChannelHandlerContext, event: Any) {
    if case ChannelEvent.inputClosed = event { context.close(promise: nil) }
  }

  func errorCaught(context: ChannelHandlerContext, error: any Error) { context.close(promise: nil) }
}
