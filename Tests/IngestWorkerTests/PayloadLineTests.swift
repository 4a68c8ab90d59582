import IngestQueue
import NIOCore
import QueueFixture
import Testing

@testable import IngestWorker

struct PayloadLineTests {
  private func line(_ body: [UInt8]) -> String {
    var buffer = ByteBuffer()
    PayloadLine(Delivery(header: .numbered(1), body: DecodedBody(bytes: body[...], undone: nil))).write(to: &buffer)
    return String(buffer: buffer)
  }

  @Test(arguments: [0x00, 0x01, 0x1F, 0x22, 0x5C, 0x0A, 0x61, 0xFF] as [UInt8])
  func `whatever a body is made of, its line has a bounded length`(byte: UInt8) {
    let count = 100_000
    let line = line([UInt8](repeating: byte, count: count))
    #expect(line.utf8.count <= PayloadLine.most(count))
    // What JSON writes with two characters is text; of the rest only what isn't text, or would be six times as long, is base64.
    let isBase64 = line.contains(#""body_base64":""#)
    #expect(isBase64 == [0x00, 0x01, 0x1F, 0xFF].contains(byte))
  }

  @Test func `a few control characters are no reason for base64`() {
    #expect(line(Array("{\"a\":\"b\u{1}c\"}".utf8)).contains(#""body":"{\"a\":\"b\u0001c\"}""#))
  }
}
