// Test helpers that take arrays, because a span can't be made within an expectation.

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

extension EventCount {
  /// The bounds are wide unless they are what is tested.
  static func count(
    in body: [UInt8], _ format: Format, _ compression: CompressionFormat? = nil,
    within bounds: DecodedBounds = DecodedBounds(bytes: 512 << 20, ratio: 1_000_000), limit: Int = 10_000,
    room: Int = 64 << 10
  ) throws(Failure) -> Int {
    try count(
      in: body.span.bytes, format: format, compression: compression, within: bounds, limit: limit, room: room)
  }
}
