// A TCP proxy that misbehaves as networks do: between a process of ours and Redis it delays, trickles, stalls without a word, cuts at once
// or in the middle of a reply, and turns new connections away. In our own process rather than in the kernel: netem isn't to be had
// everywhere, and "after so many bytes" is nothing that it could do.
//
// All connections of all proxies live on one event loop, so what is in here needs no lock.

import DequeModule
import NIOCore
import NIOPosix

/// A listening proxy in front of one port of 127.0.0.1.
final class FaultProxy: Sendable {
  /// What befalls the bytes.
  enum Weather: Sendable, Equatable {
    case fair
    /// Each byte comes so much later.
    case late(TimeAmount)
    /// Maximum bytes that pass in 10 ms, in each direction.
    case trickle(bytes: Int)
    /// No data passes and no connection is closed, as with a peer that vanished from the network. New connections are
    /// accepted and treated alike.
    case still
    /// New connections are closed at once. Those that there are go on.
    case closed
  }

  enum Direction: String, Sendable, CaseIterable {
    case toRedis = "to Redis"
    case fromRedis = "from Redis"
  }

  /// Where it listens.
  let port: Int
  private let loop: any EventLoop
  private let crossing: NIOLoopBound<Crossing>
  private let listener: any Channel

  private init(port: Int, crossing: NIOLoopBound<Crossing>, listener: any Channel) {
    self.port = port
    self.crossing = crossing
    self.listener = listener
    loop = listener.eventLoop
  }

  /// Listens on any free port.
  static func start(before target: Int, on loop: any EventLoop) async throws -> FaultProxy {
    try await loop.flatSubmit { () -> EventLoopFuture<FaultProxy> in
      let crossing = NIOLoopBound(Crossing(target: target, loop: loop), eventLoop: loop)
      return ServerBootstrap(group: loop)
        .serverChannelOption(.socketOption(.so_reuseaddr), value: 1)
        .childChannelOption(.autoRead, value: false)
        .childChannelInitializer { channel in
          channel.eventLoop.makeCompletedFuture { crossing.value.enter(channel) }
        }
        .bind(host: "127.0.0.1", port: 0)
        .map { FaultProxy(port: $0.localAddress?.port ?? 0, crossing: crossing, listener: $0) }
    }.get()
  }

  func set(_ weather: Weather) { loop.execute { [crossing] in crossing.value.set(weather) } }

  /// Closes all connections, both ends.
  func cut() { loop.execute { [crossing] in crossing.value.cut() } }

  /// Cuts each connection, including new ones until ``set(_:)`` is called, after this number of further bytes in this
  /// direction.
  func cut(after bytes: Int, _ direction: Direction) {
    loop.execute { [crossing] in crossing.value.cut(after: bytes, direction) }
  }

  /// From now on new connections lead to another port.
  func lead(to target: Int) { loop.execute { [crossing] in crossing.value.target = target } }
}

/// The proxy's connections and what befalls them. On the event loop.
private final class Crossing {
  var target: Int
  private let loop: any EventLoop
  private var weather = FaultProxy.Weather.fair
  private var limit: (bytes: Int, direction: FaultProxy.Direction)?
  private var pairs: [ObjectIdentifier: Pair] = [:]

  init(target: Int, loop: any EventLoop) {
    self.target = target
    self.loop = loop
  }

  func enter(_ client: any Channel) {
    guard weather != .closed else { return client.close(promise: nil) }
    ClientBootstrap(group: loop)
      .connectTimeout(.seconds(2))
      .channelOption(.autoRead, value: false)
      .connect(host: "127.0.0.1", port: target)
      .assumeIsolated().whenComplete { result in
        switch result {
        case .failure: client.close(promise: nil)
        case .success(let server): self.join(client, server)
        }
      }
  }

  private func join(_ client: any Channel, _ server: any Channel) {
    let pair = Pair(client: client, server: server)
    do {
      try client.pipeline.syncOperations.addHandler(pair.toRedis)
      try server.pipeline.syncOperations.addHandler(pair.fromRedis)
    } catch {
      client.close(promise: nil)
      server.close(promise: nil)
      return
    }
    pairs[ObjectIdentifier(pair)] = pair
    for channel in [client, server] {
      channel.closeFuture.assumeIsolated().whenComplete { _ in
        if !client.isActive && !server.isActive { self.pairs[ObjectIdentifier(pair)] = nil }
      }
    }
    pair.set(weather)
    if let limit { pair.cut(after: limit.bytes, limit.direction) }
  }

  func set(_ weather: FaultProxy.Weather) {
    self.weather = weather
    limit = nil
    for pair in pairs.values {
      pair.toRedis.bytesUntilCut = nil
      pair.fromRedis.bytesUntilCut = nil
      pair.set(weather)
    }
  }

  func cut() {
    for pair in pairs.values { pair.cut() }
  }

  func cut(after bytes: Int, _ direction: FaultProxy.Direction) {
    limit = (bytes, direction)
    for pair in pairs.values { pair.cut(after: bytes, direction) }
  }
}

/// A connection and the one to Redis that it leads to.
private final class Pair {
  let toRedis: Pump
  let fromRedis: Pump
  private let client: any Channel
  private let server: any Channel

  init(client: any Channel, server: any Channel) {
    self.client = client
    self.server = server
    toRedis = Pump(from: client, into: server)
    fromRedis = Pump(from: server, into: client)
  }

  func set(_ weather: FaultProxy.Weather) {
    toRedis.set(weather)
    fromRedis.set(weather)
  }

  func cut() {
    client.close(promise: nil)
    server.close(promise: nil)
  }

  func cut(after bytes: Int, _ direction: FaultProxy.Direction) {
    (direction == .toRedis ? toRedis : fromRedis).bytesUntilCut = bytes
  }
}

/// Bytes on their way in one direction.
private final class Pump: ChannelInboundHandler {
  typealias InboundIn = ByteBuffer

  /// After this number of bytes both ends are closed.
  var bytesUntilCut: Int?
  private let source: any Channel
  private let sink: any Channel
  private var weather = FaultProxy.Weather.fair
  private var waiting: Deque<(due: NIODeadline, bytes: ByteBuffer)> = []
  private var waitingBytes = 0
  private var hasEnded = false
  private var next: Scheduled<Void>?
  private var reads = false
  /// Maximum bytes held in the proxy. The rest waits in the sockets, as without a proxy.
  private static let room = 1 << 20

  init(from source: any Channel, into sink: any Channel) {
    self.source = source
    self.sink = sink
  }

  func set(_ weather: FaultProxy.Weather) {
    self.weather = weather
    go()
  }

  func channelRead(context: ChannelHandlerContext, data: NIOAny) {
    let bytes = unwrapInboundIn(data)
    var due = NIODeadline.now()
    if case .late(let by) = weather { due = due + by }
    waiting.append((due, bytes))
    waitingBytes += bytes.readableBytes
    go()
  }

  func channelInactive(context: ChannelHandlerContext) {
    hasEnded = true
    go()
  }

  func errorCaught(context: ChannelHandlerContext, error: any Error) { context.close(promise: nil) }

  /// Passes on what may pass now, and comes back for the rest.
  private func go() {
    next?.cancel()
    next = nil
    read(weather != .still && waitingBytes < Self.room)
    guard weather != .still else { return }
    let now = NIODeadline.now()
    var allowance = Int.max
    if case .trickle(let bytes) = weather { allowance = bytes }
    while allowance > 0, let first = waiting.first, first.due <= now {
      pass(min(allowance, first.bytes.readableBytes), &allowance)
      guard sink.isActive else { return }
    }
    sink.flush()
    if let first = waiting.first {
      let pause = first.due > now ? first.due - now : .milliseconds(10)
      next = source.eventLoop.assumeIsolated().scheduleTask(in: pause) { self.go() }
    } else if hasEnded {
      sink.close(promise: nil)
    }
    read(waitingBytes < Self.room)
  }

  private func pass(_ count: Int, _ allowance: inout Int) {
    var count = count
    if let left = bytesUntilCut { count = min(count, left) }
    guard let part = waiting[waiting.startIndex].bytes.readSlice(length: count) else { return }
    if waiting[waiting.startIndex].bytes.readableBytes == 0 { waiting.removeFirst() }
    waitingBytes -= count
    allowance -= count
    sink.write(part, promise: nil)
    guard let left = bytesUntilCut else { return }
    bytesUntilCut = left - count
    if left - count <= 0 {
      sink.flush()
      source.close(promise: nil)
      sink.close(promise: nil)
    }
  }

  private func read(_ wanted: Bool) {
    guard wanted != reads, source.isActive else { return }
    reads = wanted
    _ = source.setOption(.autoRead, value: wanted)
    if wanted { source.read() }
  }
}
