// The client of a request that passed HTTP proxies: X-Forwarded-For.
//
// Each proxy appends the address of its own peer. So the line is only as trustworthy as its writers, and is read from
// its end. The connection's peer vouches for the last address. If that address is a trusted proxy's too, this proxy
// vouches for the address before. The first address that isn't a trusted proxy's is the client's, and the client chose
// all text before it. Many programs use the first address of the line, which any client can choose.
//
// RFC 7239's Forwarded isn't read: few proxies write it, and a proxy that writes X-Forwarded-For passes a client's own
// Forwarded on unchanged. A server that reads both lets the client choose.

internal import Bytes

/// Reads X-Forwarded-For.
public enum ForwardedFor {
  /// Maximum addresses that are read: no request passes so many proxies.
  public static let maximumHops = 32

  /// The client of a request.
  ///
  /// The client is the peer, unless the peer is a trusted proxy. Then it is the last address of the last line; if that
  /// is a trusted proxy too, the address before, and so on. The search ends at the first address that isn't a trusted
  /// proxy's, which is the client's. It also ends at the end of the addresses, after ``maximumHops``, and before an
  /// element that isn't an address (an empty element, `unknown`, a name). Then the result is the last address reached,
  /// which is a proxy's. The result is never an address that only an untrusted sender vouches for.
  ///
  /// An address may have a port, which is ignored: `192.0.2.1:567`, `[2001:db8::1]:567`. It may have blanks around it.
  /// - Parameters:
  ///   - peer: The connection's peer, or the client in its PROXY header if there is one.
  ///   - trusted: The trusted proxies.
  ///   - values: The ranges of the values of all X-Forwarded-For lines in `bytes`, in the lines' order.
  ///   - bytes: The request's head.
  public static func client(
    peer: IPAddress, trusted: TrustedProxies, values: some BidirectionalCollection<Range<Int>>, in bytes: RawSpan
  ) -> IPAddress {
    var client = peer
    var hops = 0
    for value in values.reversed() {
      var end = value.upperBound
      while true {
        guard hops < maximumHops, trusted.contains(client) else { return client }
        var start = end
        while start > value.lowerBound, bytes.byte(start - 1) != .comma { start -= 1 }
        guard let address = address(bytes, bytes.trimmed(start..<end)) else { return client }
        client = address
        hops += 1
        guard start > value.lowerBound else { break }
        end = start - 1
      }
    }
    return client
  }

  /// An address with or without a port.
  private static func address(_ bytes: RawSpan, _ range: Range<Int>) -> IPAddress? {
    guard let first = range.first else { return nil }
    if bytes.byte(first) == UInt8(ascii: "[") {
      guard let bracket = range.first(where: { bytes.byte($0) == UInt8(ascii: "]") }),
        let number = IPAddress.ipv6(bytes, first + 1..<bracket),
        bracket + 1 == range.upperBound || isPort(bytes, bracket + 1..<range.upperBound)
      else { return nil }
      return IPAddress(ipv6: number)
    }
    if let address = IPAddress(bytes, range) { return address }
    guard let colon = range.first(where: { bytes.byte($0) == .colon }),
      let number = IPAddress.ipv4(bytes, first..<colon), isPort(bytes, colon..<range.upperBound)
    else { return nil }
    return IPAddress(ipv4: number)
  }

  /// A colon and a port.
  private static func isPort(_ bytes: RawSpan, _ range: Range<Int>) -> Bool {
    guard let colon = range.first, bytes.byte(colon) == .colon else { return false }
    return bytes.port(colon + 1..<range.upperBound) != nil
  }
}
