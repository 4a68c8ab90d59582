// Hexadecimal digits. Lines that are written for each push convert eight digits at a time: ids and keys have about a
// hundred digits, which one by one cost more than the rest of the line. All other code uses strings.

/// The digits of numbers, in lower case.
@usableFromInline package enum HexDigits {
  /// The eight digits of a word, the first digit in the lowest byte.
  @inlinable @inline(__always)
  package static func ascii(_ word: UInt32) -> UInt64 {
    // Spreads the half bytes over one byte each, in three steps.
    var digits = UInt64(word)
    digits = (digits << 16 | digits) & 0x0000_FFFF_0000_FFFF
    digits = (digits << 8 | digits) & 0x00FF_00FF_00FF_00FF
    digits = (digits << 4 | digits) & 0x0F0F_0F0F_0F0F_0F0F
    // Digits above nine are letters: with six added they reach the next half byte.
    let letters = (digits &+ 0x0606_0606_0606_0606) >> 4 & 0x0101_0101_0101_0101
    // "0" is added, and for letters 39 more.
    let ascii = digits &+ 0x3030_3030_3030_3030 &+ letters &* 39
    return ascii.byteSwapped
  }

  /// The digit of a number below 16.
  @inlinable @inline(__always)
  package static func ascii(halfByte: UInt8) -> UInt8 { halfByte < 10 ? 0x30 &+ halfByte : 0x57 &+ halfByte }
}

extension FixedWidthInteger where Self: UnsignedInteger {
  /// All hexadecimal digits of the type, with leading zeros.
  @inlinable package func hexDigits(uppercase: Bool = false) -> String {
    let digits = String(self, radix: 16, uppercase: uppercase)
    return String(repeating: "0", count: Self.bitWidth / 4 - digits.utf8.count) + digits
  }

  /// Parses hexadecimal digits, in either case. Nil unless there are exactly as many as the type has.
  @inlinable package init?(hexDigits: some Collection<UInt8>) {
    guard hexDigits.count == Self.bitWidth / 4 else { return nil }
    var number: Self = 0
    for digit in hexDigits {
      guard let value = digit.hexadecimal else { return nil }
      number = number << 4 | Self(value)
    }
    self = number
  }
}
