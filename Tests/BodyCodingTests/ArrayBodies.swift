// Spans can't be made within an expectation, so tests say it with arrays.

import BodyCoding

extension CompressionFormat {
  init?(firstBytesOf body: [UInt8]) { self.init(firstBytesOf: body.span.bytes) }
}

extension Decompression {
  static func decode(
    _ body: [UInt8], as format: CompressionFormat, within bounds: DecodedBounds, room: Int = 64 << 10
  ) throws(Failure) -> [UInt8] {
    try decode(body.span.bytes, as: format, within: bounds, room: room)
  }
}
