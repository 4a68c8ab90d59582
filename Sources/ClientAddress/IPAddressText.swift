// Addresses as text: read as in RFC 4291 §2.2, written as in RFC 5952.
//
// Parsing is strict, because a rule about an address can be evaded if two readers disagree about the address: exactly
// four decimal parts, none with a leading zero (octal to some); groups of one to four hexadecimal digits; one `::` at
// most, which stands for at least one group; the last two groups may be written as an IPv4 address. Rejected:
// inet_pton, which needs a copy of the request's bytes with a zero at the end. Tests compare this parser with
// inet_pton.

internal import Bytes

extension IPAddress {
  /// Reads an address.
  /// - Throws: ``InvalidAddress`` if the text is anything but an address: no blanks, port, brackets, zone or block.
  public init(_ text: String) throws(InvalidAddress) {
    guard let address = IPAddress(text: Array(text.utf8).span.bytes) else {
      throw InvalidAddress(expected: "an IPv4 or IPv6 address", came: text)
    }
    self = address
  }

  /// Reads an address from its text's bytes; nil if they are anything else.
  public init?(text: RawSpan) { self.init(text, 0..<text.byteCount) }

  init?(_ text: RawSpan, _ range: Range<Int>) {
    if let number = Self.ipv4(text, range) {
      self.init(ipv4: number)
    } else if let number = Self.ipv6(text, range) {
      self.init(ipv6: number)
    } else {
      return nil
    }
  }

  /// Four decimal parts.
  static func ipv4(_ text: RawSpan, _ range: Range<Int>) -> UInt32? {
    var number: UInt32 = 0
    var parts = 0
    var start = range.lowerBound
    while true {
      var end = start
      while end < range.upperBound, text.byte(end) != .dot { end += 1 }
      guard let part = text.decimal(start..<end, upTo: 255) else { return nil }
      number = number << 8 | UInt32(part)
      parts += 1
      if end == range.upperBound { return parts == 4 ? number : nil }
      start = end + 1
    }
  }

  /// Groups between colons.
  static func ipv6(_ text: RawSpan, _ range: Range<Int>) -> UInt128? {
    let end = range.upperBound
    var at = range.lowerBound
    var number: UInt128 = 0
    var groups = 0
    /// The number of groups before `::`.
    var gap: Int?
    if at + 1 < end, text.byte(at) == .colon, text.byte(at + 1) == .colon {
      gap = 0
      at += 2
    }
    while at < end || gap != groups {
      let start = at
      var group: UInt128 = 0
      while at < end, let digit = text.byte(at).hexadecimal {
        guard at - start < 4 else { return nil }
        group = group << 4 | UInt128(digit)
        at += 1
      }
      if at < end, text.byte(at) == .dot {
        guard let tail = ipv4(text, start..<end) else { return nil }
        number = number << 32 | UInt128(tail)
        groups += 2
        break
      }
      guard at > start else { return nil }
      number = number << 16 | group
      groups += 1
      if at == end { break }
      guard text.byte(at) == .colon else { return nil }
      at += 1
      if at < end, text.byte(at) == .colon {
        guard gap == nil else { return nil }
        gap = groups
        at += 1
      }
    }
    guard let gap else { return groups == 8 ? number : nil }
    guard groups < 8 else { return nil }
    let behind = 16 * (groups - gap)
    let tail = number & ~(UInt128.max << behind)
    // With nothing before the gap this shifts all bits out, and `<<` returns 0 then.
    return (number >> behind) << (128 - 16 * gap) | tail
  }
}

extension IPAddress: CustomStringConvertible {
  /// `192.0.2.1`, `2001:db8::1`.
  public var description: String {
    switch family {
    case .ipv4: Self.text(ofIPv4: UInt32(truncatingIfNeeded: bits))
    case .ipv6: Self.text(ofIPv6: bits)
    }
  }

  private static func text(ofIPv4 number: UInt32) -> String {
    "\(number >> 24).\(number >> 16 & 0xFF).\(number >> 8 & 0xFF).\(number & 0xFF)"
  }

  /// In lower case, without leading zeros, the longest run of zero groups (the first of several, but not one group
  /// alone) as `::`. Never with an IPv4 address at the end. RFC 5952 §5 recommends that form only for addresses whose
  /// prefix shows the embedded IPv4 address, and those are IPv4 addresses here.
  private static func text(ofIPv6 number: UInt128) -> String {
    let groups = (0..<8).map { UInt16(truncatingIfNeeded: number >> (112 - 16 * $0)) }
    var longest = 0..<0
    var start = 0
    while start < 8 {
      var end = start
      while end < 8, groups[end] == 0 { end += 1 }
      if end - start > max(longest.count, 1) { longest = start..<end }
      start = end + 1
    }
    func text(_ part: Range<Int>) -> String { groups[part].map { String($0, radix: 16) }.joined(separator: ":") }
    return longest.isEmpty ? text(0..<8) : "\(text(0..<longest.lowerBound))::\(text(longest.upperBound..<8))"
  }
}
