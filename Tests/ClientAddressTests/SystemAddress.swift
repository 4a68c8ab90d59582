// Addresses as the C library reads and writes them, to compare with ours.

import ClientAddress
import Foundation

struct SystemAddress {
  let address: IPAddress
  /// As inet_ntop writes it.
  let text: String

  /// As inet_pton reads it; nil if it doesn't.
  init?(_ text: String) {
    var ipv4 = in_addr()
    var ipv6 = in6_addr()
    // For C the text would end there.
    guard !text.utf8.contains(0) else { return nil }
    if inet_pton(AF_INET, text, &ipv4) == 1 {
      address = IPAddress(ipv4: UInt32(bigEndian: ipv4.s_addr))
    } else if inet_pton(AF_INET6, text, &ipv6) == 1 {
      address = IPAddress(ipv6: withUnsafeBytes(of: ipv6) { UInt128(bigEndian: $0.loadUnaligned(as: UInt128.self)) })
    } else {
      return nil
    }
    self.text = text
  }

  init(_ number: UInt128) {
    address = IPAddress(ipv6: number)
    var buffer = [CChar](repeating: 0, count: Int(INET6_ADDRSTRLEN))
    withUnsafeBytes(of: number.bigEndian) {
      _ = inet_ntop(AF_INET6, $0.baseAddress, &buffer, socklen_t(INET6_ADDRSTRLEN))
    }
    text = String(decoding: buffer.prefix { $0 != 0 }.map { UInt8(bitPattern: $0) }, as: UTF8.self)
  }
}

extension SystemAddress {
  /// An IPv6 address in network order.
  static func bytes(_ text: String) -> [UInt8] {
    var address = in6_addr()
    precondition(inet_pton(AF_INET6, text, &address) == 1, "\(text) is no IPv6 address")
    return withUnsafeBytes(of: address) { Array($0) }
  }
}
