// Helpers that read bytes from the network, one or eight at a time. All code that parses a head, an address or a digit
// uses them, so that all of it treats bytes alike.
//
// Bytes are read through RawSpan, whose bounds are checked in release builds too: at the edge to the internet a wrong
// offset must trap and never read another request's memory. Everything is inlinable, because it runs for each request
// and often in loops: a call into another module for each byte would cost more than the work.

extension UInt8 {
  @inlinable package static var tab: UInt8 { 0x09 }
  @inlinable package static var lineFeed: UInt8 { 0x0A }
  @inlinable package static var carriageReturn: UInt8 { 0x0D }
  @inlinable package static var space: UInt8 { 0x20 }
  @inlinable package static var comma: UInt8 { 0x2C }
  @inlinable package static var dot: UInt8 { 0x2E }
  @inlinable package static var slash: UInt8 { 0x2F }
  @inlinable package static var colon: UInt8 { 0x3A }

  @inlinable package var isBlank: Bool { self == .space || self == .tab }
  @inlinable @inline(__always) package var isDigit: Bool { self &- 0x30 < 10 }

  /// The value of a decimal digit; nil for anything else.
  @inlinable package var decimal: UInt8? {
    let digit = self &- 0x30
    return digit < 10 ? digit : nil
  }

  /// The value of a hexadecimal digit; nil for anything else.
  @inlinable package var hexadecimal: UInt8? {
    let decimal = self &- 0x30
    if decimal < 10 { return decimal }
    let letter = (self | 0x20) &- 0x61
    return letter < 6 ? letter &+ 10 : nil
  }

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

  /// The range without blanks at both ends.
  @inlinable package func trimmed(_ range: Range<Int>) -> Range<Int> {
    var start = range.lowerBound
    var end = range.upperBound
    while start < end, byte(start).isBlank { start &+= 1 }
    while end > start, byte(end &- 1).isBlank { end &-= 1 }
    return start..<end
  }

  /// Whether these bytes are this word, ignoring case. The word must be in lower case.
  @inlinable package func matches(_ word: StaticString, at range: Range<Int>) -> Bool {
    isSame(as: word, at: range, inAnyCase: true)
  }

  /// Whether these bytes are exactly this word.
  @inlinable package func equals(_ word: StaticString, at range: Range<Int>) -> Bool {
    isSame(as: word, at: range, inAnyCase: false)
  }

  /// Compares eight bytes at a time: header fields are searched by name so often that the gain is measurable.
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
}
