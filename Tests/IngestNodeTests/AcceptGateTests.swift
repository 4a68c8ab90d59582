// The handler in front of the accepting channel. The test plays the channel's part of accepting.

import Foundation
import Logging
import NIOCore
import NIOEmbedded
import RedisFixture
import Testing

@testable import IngestNode
@testable import Listening

@Suite struct AcceptGateTests {
  /// Counts how often the socket would be accepted from.
  private final class Reads: ChannelOutboundHandler {
    typealias OutboundIn = Never
    var count = 0
    func read(context: ChannelHandlerContext) { count += 1 }
  }

  /// The handler behind the `AcceptGate`: it takes the connections, and ends with the first error.
  private final class Taker: ChannelInboundHandler {
    typealias InboundIn = any Channel
    var errors = 0
    func errorCaught(context: ChannelHandlerContext, error: any Error) { errors += 1 }
  }

  private let loop = EmbeddedEventLoop()
  private let reads = Reads()
  private let taker = Taker()
  private let log = RecordedLog()

  private func listener(_ part: DescriptorPlan.Listener) throws -> EmbeddedChannel {
    let gate = AcceptGate("push", part, logger: log.logger)
    let channel = EmbeddedChannel(handlers: [reads, gate, taker], loop: loop)
    try channel.connect(to: SocketAddress(ipAddress: "127.0.0.1", port: 1)).wait()
    reads.count = 0
    return channel
  }

  private func accept(at listener: EmbeddedChannel) throws -> EmbeddedChannel {
    let connection = EmbeddedChannel(loop: loop)
    try connection.connect(to: SocketAddress(ipAddress: "127.0.0.1", port: 1)).wait()
    listener.pipeline.fireChannelRead(connection as any Channel)
    return connection
  }

  @Test(arguments: [EMFILE, ENFILE, ENOBUFS, ENOMEM])
  func `while accepting fails it is tried less and less often, and the listener stays`(code: CInt) throws {
    let listener = try listener(.init(connections: 100, courtesies: 0, batch: 4))
    var pauses: [Int] = []
    for _ in 1...8 {
      // As NIO does: the error, and then it reads again.
      listener.pipeline.fireErrorCaught(IOError(errnoCode: code, reason: "accept"))
      listener.pipeline.fireChannelReadComplete()
      listener.read()
      var waited = 0
      while reads.count == 0, waited < 5_000 {
        loop.advanceTime(by: .milliseconds(10))
        waited += 10
      }
      pauses.append(waited)
      reads.count = 0
    }
    #expect(pauses == [50, 100, 200, 400, 800, 1_000, 1_000, 1_000])
    #expect(listener.isActive && taker.errors == 0)
    #expect(log.lines(.error).count <= 2 && log.lines(.error).first?.metadata["listener"] == "push")

    let connection = try accept(at: listener)
    listener.read()
    #expect(reads.count == 1)
    listener.pipeline.fireErrorCaught(IOError(errnoCode: code, reason: "accept"))
    listener.read()
    loop.advanceTime(by: .milliseconds(50))
    #expect(reads.count == 2, "it begins with the shortest pause again")
    _ = try connection.finish()
    _ = try listener.finish()
  }

  @Test func `a client that went away before it was accepted is no reason to wait`() throws {
    let listener = try listener(.init(connections: 100, courtesies: 0, batch: 4))
    listener.pipeline.fireErrorCaught(IOError(errnoCode: ECONNABORTED, reason: "accept"))
    listener.read()
    #expect(reads.count == 1 && taker.errors == 0)
    _ = try listener.finish()
  }

  @Test func `no more is accepted than there are descriptors for, and again when one is free`() throws {
    let part = DescriptorPlan.Listener(connections: 3, courtesies: 1, batch: 2)
    let listener = try listener(part)
    var connections: [EmbeddedChannel] = []
    while connections.count < 100 {
      reads.count = 0
      listener.read()
      guard reads.count == 1 else { break }
      for _ in 0..<part.batch { connections.append(try accept(at: listener)) }
    }
    #expect(connections.count == part.descriptors)
    // One batch more must find room, whatever is closed first.
    _ = try connections.removeLast().finish()
    loop.run()
    #expect(reads.count == 0)
    _ = try connections.removeLast().finish()
    loop.run()
    #expect(reads.count == 1)
    for connection in connections { _ = try connection.finish() }
    _ = try listener.finish()
  }
}
