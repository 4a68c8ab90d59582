// Functions to read addresses, blocks and headers byte by byte.
//
// Through RawSpan, whose bounds are checked in release builds too: these bytes are from the network, and a wrong offset
// must be a trap and never somebody else's memory.

extension UInt8 {
  static let tab: UInt8 = 0x09
  static let lineFeed: UInt8 = 0x0A
  static let carriageReturn: UInt8 = 0x0D
  static let space: UInt8 = 0x20
  static let comma: UInt8 = 0x2C
  static let dot: UInt8 = 0x2E
  static let slash: UInt8 = 0x2F
  static let colon: UInt8 = 0x3A

  var isBlank: Bool { self == .space || self == .tab }

  /// The value of a decimal digit; nil for anything else.
  var decimal: UInt8? {
    let digit = self &- 0x30
    return digit < 10 ? digit : nil
  }

  /// The value of a hexadecimal digit; nil for anything else.
  var hexadecimal: UInt8? {
    if let decimal { return decimal }
    let letter = (self | 0x20) &- 0x61
    return letter < 6 ? letter &+ 10 : nil
  }
}

extension RawSpan {
  func byte(_ offset: Int) -> UInt8 { unsafeLoad(fromByteOffset: offset, as: UInt8.self) }

  /// An unsigned number in network order.
  func number<N: FixedWidthInteger & BitwiseCopyable>(at offset: Int, as type: N.Type = N.self) -> N {
    N(bigEndian: unsafeLoadUnaligned(fromByteOffset: offset, as: N.self))
  }

  /// The range without blanks at both ends.
  func trimmed(_ range: Range<Int>) -> Range<Int> {
    var start = range.lowerBound
    var end = range.upperBound
    while start < end, byte(start).isBlank { start += 1 }
    while end > start, byte(end - 1).isBlank { end -= 1 }
    return start..<end
  }

  /// A decimal number up to `limit` and nothing else: digits alone, and no zero before others, which some readers take
  /// for octal.
  func decimal(_ range: Range<Int>, upTo limit: Int) -> Int? {
    guard !range.isEmpty, range.count == 1 || byte(range.lowerBound) != UInt8(ascii: "0") else { return nil }
    var number = 0
    for at in range {
      guard let digit = byte(at).decimal else { return nil }
      number = number * 10 + Int(digit)
      guard number <= limit else { return nil }
    }
    return number
  }

  /// A port as text: 0 to 65535.
  func port(_ range: Range<Int>) -> Int? { decimal(range, upTo: 65_535) }
}
