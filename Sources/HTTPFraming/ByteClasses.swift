// The bytes that are allowed in each part of a head, and the two loops that search for the end of a part.
//
// Bytes are read through RawSpan, whose bounds are checked in release builds too: facing the internet, a wrong offset
// must be a trap and never somebody else's memory. Values, the longest part of a header, are searched eight bytes at a
// time, and so is each name compared. The end of a name or a target is searched byte by byte, because they are short.
// No table of 256 entries: two words of bits recognise tokens without a load.
//
// Other modules read the bytes of such a head in the same way, for each request. The functions for that are inlinable.

extension UInt8 {
  @inlinable package static var tab: UInt8 { 0x09 }
  static let lineFeed: UInt8 = 0x0A
  static let carriageReturn: UInt8 = 0x0D
  @inlinable package static var space: UInt8 { 0x20 }
  static let comma: UInt8 = 0x2C
  static let colon: UInt8 = 0x3A

  @inlinable package var isBlank: Bool { self == .space || self == .tab }
  @inline(__always) var isDigit: Bool { self &- 0x30 < 10 }

  /// The value of a hexadecimal digit; nil for anything else.
  @inlinable package var hexadecimal: UInt8? {
    let decimal = self &- 0x30
    if decimal < 10 { return decimal }
    let letter = (self | 0x20) &- 0x61
    return letter < 6 ? letter &+ 10 : nil
  }

  /// `tchar` of RFC 9110 §5.6.2.
  @inline(__always) var isToken: Bool {
    // ! # $ % & ' * + - . 0–9, then A–Z ^ _ ` a–z | ~
    let bits: UInt64 = self < 64 ? 0x03FF_6CFA_0000_0000 : self < 128 ? 0x57FF_FFFF_C7FF_FFFE : 0
    return bits >> UInt64(self & 63) & 1 == 1
  }

  /// Whether it is allowed in a field's value or a quoted string: not a control character, unless it is a tab.
  @inline(__always) var isText: Bool { self == .tab || (self >= .space && self != 0x7F) }

  /// The same letter in lower case; other bytes unchanged.
  @inlinable package var lowercased: UInt8 { self &- 0x41 < 26 ? self | 0x20 : self }
}

extension UInt64 {
  /// Its eight bytes with letters in lower case; other bytes unchanged.
  @inlinable @inline(__always) package var lowercasedBytes: UInt64 {
    // The additions carry into a byte's highest bit if it is at least "A", or greater than "Z"; never into the next
    // byte.
    let sevenBits = self & 0x7F7F_7F7F_7F7F_7F7F
    let fromA = sevenBits &+ 0x3F3F_3F3F_3F3F_3F3F
    let beyondZ = sevenBits &+ 0x2525_2525_2525_2525
    let letters = (fromA ^ beyondZ) & ~self & 0x8080_8080_8080_8080
    return self | letters >> 2
  }
}

extension RawSpan {
  @inlinable @inline(__always) package func byte(_ offset: Int) -> UInt8 {
    unsafeLoad(fromByteOffset: offset, as: UInt8.self)
  }

  /// The first byte from `start` on that is a control character (tabs too) or DEL; `end` if there is none.
  @inline(__always) func firstControl(from start: Int, to end: Int) -> Int {
    var at = start
    while at &+ 8 <= end {
      let word = UInt64(littleEndian: unsafeLoadUnaligned(fromByteOffset: at, as: UInt64.self))
      // The lowest marked byte is right; a borrow can mark wrong ones only above it.
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

  /// The range without blanks at both ends.
  @inlinable package func trimmed(_ range: Range<Int>) -> Range<Int> {
    var start = range.lowerBound
    var end = range.upperBound
    while start < end, byte(start).isBlank { start &+= 1 }
    while end > start, byte(end &- 1).isBlank { end &-= 1 }
    return start..<end
  }

  /// Whether these bytes are that word, in any case. The word is in lower case.
  @inlinable package func matches(_ word: StaticString, at range: Range<Int>) -> Bool {
    isSame(as: word, at: range, inAnyCase: true)
  }

  /// Whether these bytes are exactly that word.
  @inlinable package func equals(_ word: StaticString, at range: Range<Int>) -> Bool {
    isSame(as: word, at: range, inAnyCase: false)
  }

  /// Eight bytes at a time: header fields are looked for by their names often enough that it shows.
  @inlinable @inline(__always)
  package func isSame(as word: StaticString, at range: Range<Int>, inAnyCase: Bool) -> Bool {
    guard range.count == word.utf8CodeUnitCount else { return false }
    let expected = UnsafeRawPointer(word.utf8Start)
    var at = 0
    while at &+ 8 <= range.count {
      let eight = unsafeLoadUnaligned(fromByteOffset: range.lowerBound &+ at, as: UInt64.self)
      let wanted = expected.loadUnaligned(fromByteOffset: at, as: UInt64.self)
      guard (inAnyCase ? eight.lowercasedBytes : eight) == wanted else { return false }
      at &+= 8
    }
    while at < range.count {
      let byte = byte(range.lowerBound &+ at)
      guard (inAnyCase ? byte.lowercased : byte) == expected.load(fromByteOffset: at, as: UInt8.self) else {
        return false
      }
      at &+= 1
    }
    return true
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
