// Hexadecimal digits eight at a time: ids and keys are a hundred of them for each push, and one by one they cost more than all the rest of
// its line.

/// The digits of numbers, in lower case.
enum HexDigits {
  /// The eight digits of a word, the first of them in the lowest byte.
  @inline(__always)
  static func ascii(_ word: UInt32) -> UInt64 {
    // Each half byte into a byte of its own, in three steps.
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
}
