// host[:port], as in a Host header and an absolute target: RFC 3986 §3.2.2 without user information.
//
// An empty host is refused although the grammar allows it: an http URI never has one. An address of the form `v1.…` is
// refused too, because no meaning was ever defined for it. So is a zone (`%25eth0`), which means nothing beyond the
// sender's own machine.

internal import Bytes

enum Authority {
  static func isValid(_ range: Range<Int>, in bytes: RawSpan) -> Bool {
    guard !range.isEmpty else { return false }
    var at = range.lowerBound
    if bytes.byte(at) == UInt8(ascii: "[") {
      guard let end = endOfAddress(range, in: bytes) else { return false }
      at = end
    } else {
      while at < range.upperBound, bytes.byte(at) != .colon {
        let byte = bytes.byte(at)
        if byte == UInt8(ascii: "%") {
          guard at + 2 < range.upperBound, bytes.byte(at + 1).hexadecimal != nil, bytes.byte(at + 2).hexadecimal != nil
          else { return false }
          at += 3
        } else if byte.isNamePart {
          at += 1
        } else {
          return false
        }
      }
      guard at > range.lowerBound else { return false }
    }
    if at == range.upperBound { return true }
    // The grammar allows a colon without a port.
    guard bytes.byte(at) == .colon else { return false }
    var port = 0
    for digit in at + 1..<range.upperBound {
      let byte = bytes.byte(digit)
      guard byte.isDigit else { return false }
      port = port * 10 + Int(byte - 0x30)
      guard port <= 65_535 else { return false }
    }
    return true
  }

  /// The end of an IPv6 address in brackets. The text between them must only look like an address: it isn't used, so
  /// the check only keeps it harmless.
  private static func endOfAddress(_ range: Range<Int>, in bytes: RawSpan) -> Int? {
    var colons = 0
    for at in range.dropFirst() {
      let byte = bytes.byte(at)
      if byte == UInt8(ascii: "]") { return colons >= 2 ? at + 1 : nil }
      if byte == .colon { colons += 1 } else if byte.hexadecimal == nil, byte != UInt8(ascii: ".") { return nil }
    }
    return nil
  }
}

extension UInt8 {
  /// `unreserved` and `sub-delims` of RFC 3986.
  @inline(__always) fileprivate var isNamePart: Bool {
    // ! $ & ' ( ) * + , - . 0–9 ; =, then A–Z _ a–z ~
    let bits: UInt64 = self < 64 ? 0x2BFF_7FD2_0000_0000 : self < 128 ? 0x47FF_FFFE_87FF_FFFE : 0
    return bits >> UInt64(self & 63) & 1 == 1
  }
}
