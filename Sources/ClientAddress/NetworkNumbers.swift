// Numbers in addresses, blocks and headers: in network order, or as decimal text.

internal import Bytes

extension RawSpan {
  /// An unsigned number in network order.
  func number<N: FixedWidthInteger & BitwiseCopyable>(at offset: Int, as type: N.Type = N.self) -> N {
    N(bigEndian: unsafeLoadUnaligned(fromByteOffset: offset, as: N.self))
  }

  /// A decimal number up to `limit` and nothing else: only digits, and no leading zero, which some readers take for
  /// octal.
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
