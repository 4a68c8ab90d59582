import IngestQueue
import NIOCore

extension EnvelopeHeader {
  /// Anything in any field.
  static func random(using generator: inout some RandomNumberGenerator) -> EnvelopeHeader {
    EnvelopeHeader(
      id: EnvelopeID(time: Int64.random(in: 0..<(1 << 48), using: &generator), using: &generator),
      account: .random(using: &generator), key: .random(using: &generator),
      // Beyond 2^53 other readers of JSON lose digits.
      receivedAt: Int64.random(in: -(1 << 53)...(1 << 53), using: &generator),
      contentType: Bool.random(using: &generator) ? .random(using: &generator) : nil,
      contentEncoding: Bool.random(using: &generator) ? .random(using: &generator) : nil,
      path: .random(using: &generator), node: .random(using: &generator),
      traceparent: Bool.random(using: &generator) ? .random(using: &generator) : nil)
  }

  /// The line, its newline included.
  var encoded: [UInt8] {
    var buffer = ByteBuffer()
    write(to: &buffer)
    return Array(buffer.readableBytesView)
  }
}

extension String {
  /// Up to 40 characters, with many of those that JSON treats in a special way.
  fileprivate static func random(using generator: inout some RandomNumberGenerator) -> String {
    var text = ""
    for _ in 0..<Int.random(in: 0...40, using: &generator) {
      let scalar =
        switch Int.random(in: 0..<4, using: &generator) {
        case 0: Unicode.Scalar(UInt32.random(in: 0..<0x20, using: &generator))
        case 1: "\"\\/{}[]:,\u{7F}\u{85}\u{2028}".unicodeScalars.randomElement(using: &generator)
        case 2: Unicode.Scalar(UInt32.random(in: 0..<0x11_0000, using: &generator))
        default: Unicode.Scalar(UInt32.random(in: 0x20..<0x7F, using: &generator))
        }
      // Halves of surrogate pairs are no scalars.
      if let scalar { text.unicodeScalars.append(scalar) }
    }
    return text
  }
}
