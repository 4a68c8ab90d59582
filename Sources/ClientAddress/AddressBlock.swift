// A block of addresses as in RFC 4632 §3.1 and RFC 4291 §2.3: an address, a slash, and the number of leading bits that
// all addresses of the block share.
//
// An address with bits set beyond those ("10.0.0.1/8") is an error, although many programs read it as 10.0.0.0/8. Its
// author meant either the one machine or the whole network, and these blocks decide which proxies are trusted.

internal import Bytes

/// All addresses of one family that begin with the same bits: `10.0.0.0/8`, `fd00::/8`, or one address alone, `::1`.
public struct AddressBlock: Sendable, Hashable {
  /// The first address; all bits after the prefix are 0.
  public let first: IPAddress
  /// The number of fixed leading bits in the 128-bit form of the address.
  private let fixed: Int

  /// The number of fixed bits: 0 to 32 for IPv4, 0 to 128 for IPv6.
  public var prefixLength: Int { first.family == .ipv4 ? fixed - 96 : fixed }

  /// Reads `ADDRESS` or `ADDRESS/LENGTH`. An IPv4 block may be written in IPv6: `::ffff:10.0.0.0/104` is `10.0.0.0/8`.
  /// - Throws: ``InvalidAddress`` if the text is anything else, or the address has bits set beyond the length.
  public init(_ text: String) throws(InvalidAddress) {
    let bytes = Array(text.utf8)
    try self.init(bytes.span.bytes, 0..<bytes.count)
  }

  init(_ text: RawSpan, _ range: Range<Int>) throws(InvalidAddress) {
    /// The actual text, for messages.
    func came() -> String { String(decoding: range.map { text.byte($0) }, as: UTF8.self) }
    let slash = range.first { text.byte($0) == .slash } ?? range.upperBound
    guard let address = IPAddress(text, range.lowerBound..<slash) else {
      throw InvalidAddress(expected: "an IPv4 or IPv6 address or a block such as 10.0.0.0/8", came: came())
    }
    first = address
    guard slash < range.upperBound else {
      fixed = 128
      return
    }
    let isWrittenInIPv6 = (range.lowerBound..<slash).contains { text.byte($0) == .colon }
    let width = isWrittenInIPv6 ? 128 : 32
    guard let length = text.decimal(slash + 1..<range.upperBound, upTo: width) else {
      throw InvalidAddress(expected: "a length from 0 to \(width) after the slash", came: came())
    }
    fixed = length + 128 - width
    guard address.bits & ~Self.mask(fixed) == 0 else {
      let meant: String
      if address.family == .ipv4, fixed < 96 {
        meant = "an IPv4 block in IPv6 notation needs a length of at least 96"
      } else {
        let network = IPAddress(ipv6: address.bits & Self.mask(fixed))
        meant = "\(network)/\(prefixLength) is the block, and \(address) alone is the address"
      }
      throw InvalidAddress("\(InvalidAddress.shown(came())) has bits set beyond its first \(length): \(meant)")
    }
  }

  /// Whether the address is in the block. An IPv4 address is in no block of IPv6 addresses: `::/0` doesn't contain it.
  public func contains(_ address: IPAddress) -> Bool {
    address.family == first.family && (address.bits ^ first.bits) & Self.mask(fixed) == 0
  }

  private static func mask(_ length: Int) -> UInt128 { UInt128.max << (128 - length) }
}

extension AddressBlock: CustomStringConvertible {
  /// `10.0.0.0/8`; the address alone for a block of a single address.
  public var description: String { fixed == 128 ? "\(first)" : "\(first)/\(prefixLength)" }
}
