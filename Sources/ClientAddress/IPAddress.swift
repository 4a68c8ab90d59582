// An IP address as a value: 128 bits and nothing else.
//
// An IPv4 address is kept as its IPv4-mapped IPv6 address (RFC 4291 §2.5.5.2, ::ffff:a.b.c.d), so the two are equal by
// construction: a socket that listens for both families reports an IPv4 client as ::ffff:192.0.2.1, and a rule about
// 192.0.2.1 must apply to it. Rejected: an enum of two cases. All code that creates an address would have to convert
// the mapped ones. There is no zone (fe80::1%eth0): a zone means nothing on other machines.

/// An IPv4 or IPv6 address. An IPv4-mapped IPv6 address *is* the IPv4 address.
public struct IPAddress: Sendable, Hashable {
  public enum Family: Sendable, Hashable {
    case ipv4
    case ipv6
  }

  /// As an IPv6 address; an IPv4 address as the IPv6 address that it is mapped to.
  let bits: UInt128

  /// - Parameter ipv6: The address as a number; its first group is the most significant.
  public init(ipv6: UInt128) { bits = ipv6 }

  /// - Parameter ipv4: The address as a number; its first part is the most significant.
  public init(ipv4: UInt32) { bits = Self.mapped | UInt128(ipv4) }

  /// Created from the bytes in packets, socket addresses (`in_addr`, `in6_addr`) and version 2 of the PROXY protocol.
  /// - Throws: ``InvalidAddress`` unless there are 4 or 16.
  public init(bytes: RawSpan) throws(InvalidAddress) {
    switch bytes.byteCount {
    case 4: self.init(ipv4: bytes.number(at: 0))
    case 16: self.init(ipv6: bytes.number(at: 0))
    default: throw InvalidAddress("expected the 4 or 16 bytes of an address, got \(bytes.byteCount)")
    }
  }

  public var family: Family { bits >> 32 == Self.mapped >> 32 ? .ipv4 : .ipv6 }

  /// The unit of limits per client: an IPv4 address itself, and the first address of an IPv6 address's /64.
  ///
  /// A /64 is the smallest IPv6 network that a provider assigns, and its owner can use each of its 2^64 addresses. A
  /// limit per address would be no limit for that owner.
  ///
  /// Addresses in 64:ff9b::/96 (RFC 6052) stand for one IPv4 address each and are counted separately: a translator (RFC
  /// 7755) maps all IPv4 clients into that one network.
  public var network: IPAddress {
    if family == .ipv4 || bits >> 32 == Self.translated >> 32 { return self }
    return IPAddress(ipv6: (bits >> 64) << 64)
  }

  /// 64:ff9b::.
  private static let translated: UInt128 = 0x0064_FF9B << 96

  /// ::ffff:0.0.0.0.
  private static let mapped: UInt128 = 0xFFFF << 32
}
