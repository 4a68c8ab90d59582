// The bytes that are allowed in each part of a head, and the two loops that search for the end of a part.
//
// Values are the longest part of a header, so they are searched eight bytes at a time. Names and targets are short, so
// their ends are searched byte by byte. Rejected: a table of 256 entries. Two words of bits distinguish tokens without
// a load.

internal import Bytes

extension UInt8 {
  /// `tchar` of RFC 9110 §5.6.2.
  @inline(__always) var isToken: Bool {
    // ! # $ % & ' * + - . 0–9, then A–Z ^ _ ` a–z | ~
    let bits: UInt64 = self < 64 ? 0x03FF_6CFA_0000_0000 : self < 128 ? 0x57FF_FFFF_C7FF_FFFE : 0
    return bits >> UInt64(self & 63) & 1 == 1
  }

  /// Whether the byte is allowed in a field's value or a quoted string: not a control character, unless it is a tab.
  @inline(__always) var isText: Bool { self == .tab || (self >= .space && self != 0x7F) }
}

extension RawSpan {
  /// The first byte from `start` on that is a control character (tabs too) or DEL; `end` if there is none.
  @inline(__always) func firstControl(from start: Int, to end: Int) -> Int {
    var at = start
    while at &+ 8 <= end {
      let word = UInt64(littleEndian: unsafeLoadUnaligned(fromByteOffset: at, as: UInt64.self))
      // The lowest mark is right. A borrow can set wrong marks only above it.
      let below = (word &- 0x2020_2020_2020_2020) & ~word
      let difference = word ^ 0x7F7F_7F7F_7F7F_7F7F
      let delete = (difference &- 0x0101_0101_0101_0101) & ~difference
      let marks = (below | delete) & 0x8080_8080_8080_8080
      if marks != 0 { return at &+ marks.trailingZeroBitCount >> 3 }
      at &+= 8
    }
    while at < end {
      let byte = byte(at)
      if byte < .space || byte == 0x7F { return at }
      at &+= 1
    }
    return end
  }

  /// The first byte from `start` on that is no token character; `end` if there is none.
  @inline(__always) func firstNonToken(from start: Int, to end: Int) -> Int {
    var at = start
    while at < end, byte(at).isToken { at &+= 1 }
    return at
  }

  /// Calls `body` with each element of a comma-separated list, trimmed, including empty ones.
  @inline(__always) func forEachElement(of list: Range<Int>, _ body: (Range<Int>) -> Void) {
    var start = list.lowerBound
    for at in list where byte(at) == .comma {
      body(trimmed(start..<at))
      start = at &+ 1
    }
    body(trimmed(start..<list.upperBound))
  }
}
