// The PROXY header at the beginning of a connection: how many of its bytes are kept until it is complete, and for how
// long.

import ClientAddress
import NIOCore
import NIOEmbedded
import Testing

@testable import IngestNode

@Suite struct ProxyHeaderHandlerTests {
  private final class Heard {
    var refusals: [String] = []
    var sources: [IPAddress?] = []
  }

  private let heard = Heard()
  private let loop = EmbeddedEventLoop()
  private let signature: [UInt8] = Array("\r\n\r\n\0\r\nQUIT\n".utf8)

  private func connection() throws -> (EmbeddedChannel, ProxyHeaderHandler) {
    let heard = heard
    let handler = ProxyHeaderHandler(
      deadline: .seconds(10), refused: { heard.refusals.append($0) }, began: { heard.sources.append($0) })
    let channel = EmbeddedChannel(handler: handler, loop: loop)
    try channel.connect(to: SocketAddress(ipAddress: "127.0.0.1", port: 1)).wait()
    return (channel, handler)
  }

  @Test func `a header that announces 64 KiB is refused when it has announced them`() throws {
    let (channel, _) = try connection()
    try channel.writeInbound(ByteBuffer(bytes: signature + [0x21, 0x11, 0xFF, 0xFF]))
    #expect(heard.refusals.count == 1 && !channel.isActive && heard.sources.isEmpty)
  }

  @Test func `a header that never ends keeps no more than the longest has`() throws {
    let (channel, handler) = try connection()
    // One byte less than announced, byte by byte, with each in a buffer of its own.
    let header = signature + [0x21, 0x11, 0x02, 0x08] + [UInt8](repeating: 0, count: 0x0208 - 1)
    for byte in header { try channel.writeInbound(ByteBuffer(bytes: [byte])) }
    #expect(channel.isActive && heard.refusals.isEmpty)
    #expect(handler.keptBytes <= 1_024, "\(handler.keptBytes)")
    loop.advanceTime(by: .seconds(11))
    #expect(!channel.isActive && heard.refusals.count == 1)
  }

  @Test func `what follows the header in one reading is passed on, and nothing is kept`() throws {
    let (channel, _) = try connection()
    let rest = [UInt8](repeating: 7, count: 100_000)
    try channel.writeInbound(ByteBuffer(bytes: Array("PROXY TCP4 192.0.2.1 192.0.2.2 1 2\r\n".utf8) + rest))
    #expect(heard.sources == [try IPAddress("192.0.2.1")])
    #expect(try channel.readInbound(as: ByteBuffer.self).map { Array($0.readableBytesView) } == rest)
    #expect(throws: ChannelPipelineError.self) {
      try channel.pipeline.syncOperations.handler(type: ProxyHeaderHandler.self)
    }
    loop.advanceTime(by: .seconds(60))
    #expect(channel.isActive && heard.refusals.isEmpty)
    _ = try channel.finish()
  }

  @Test func `what comes after a refusal is neither kept nor passed on`() throws {
    let (channel, handler) = try connection()
    // All in one turn of the event loop, before the channel is closed.
    channel.pipeline.fireChannelRead(ByteBuffer(string: "GET / HTTP/1.1\r\n"))
    for _ in 1...100 { channel.pipeline.fireChannelRead(ByteBuffer(repeating: 0, count: 10_000)) }
    #expect(heard.refusals.count == 1 && handler.keptBytes < 1_024)
    #expect(try channel.readInbound(as: ByteBuffer.self) == nil)
  }
}
