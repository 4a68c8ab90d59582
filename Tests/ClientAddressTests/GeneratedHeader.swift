// Generated headers. Their fields are known from the generator.

import ClientAddress
import RedisFixture

struct GeneratedHeader {
  var bytes: [UInt8]
  var source: IPAddress?

  /// A random address of a family.
  static func address(_ family: IPAddress.Family, using generator: inout SeededGenerator) -> IPAddress {
    guard family == .ipv6 else { return IPAddress(ipv4: UInt32.random(in: 0...UInt32.max, using: &generator)) }
    let zeros: UInt128 = Bool.random(using: &generator) ? 0xFFFF_0000_0000_0000_FFFF : UInt128.max >> 16
    // Far from those that stand for IPv4 addresses, and global.
    return IPAddress(ipv6: UInt128.random(in: 0...UInt128.max, using: &generator) & zeros | 0x2001 << 112)
  }

  /// In version 1.
  static func line(using generator: inout SeededGenerator) -> GeneratedHeader {
    let port = { (generator: inout SeededGenerator) in UInt16.random(in: 0...UInt16.max, using: &generator) }
    guard Int.random(in: 0..<8, using: &generator) > 0 else {
      return GeneratedHeader(bytes: Array("PROXY UNKNOWN\r\n".utf8))
    }
    let family: IPAddress.Family = Bool.random(using: &generator) ? .ipv4 : .ipv6
    let source = address(family, using: &generator)
    let words = [
      "PROXY", family == .ipv4 ? "TCP4" : "TCP6", "\(source)", "\(address(family, using: &generator))",
      "\(port(&generator))", "\(port(&generator))",
    ]
    return GeneratedHeader(bytes: Array("\(words.joined(separator: " "))\r\n".utf8), source: source)
  }

  static let signature: [UInt8] = [0x0D, 0x0A, 0x0D, 0x0A, 0x00, 0x0D, 0x0A, 0x51, 0x55, 0x49, 0x54, 0x0A]

  /// A version 2 header. `command` is the byte of version and command, `family` the byte of family and transport.
  static func block(_ command: UInt8, _ family: UInt8, _ rest: [UInt8]) -> [UInt8] {
    signature + [command, family, UInt8(rest.count >> 8), UInt8(rest.count & 0xFF)] + rest
  }

  static func bytes(_ address: IPAddress) -> [UInt8] {
    switch address.family {
    case .ipv4: address.description.split(separator: ".").map { UInt8($0)! }
    case .ipv6: SystemAddress.bytes(address.description)
    }
  }

  /// A version 2 header with extensions of any kind except checksums.
  static func block(using generator: inout SeededGenerator) -> GeneratedHeader {
    let family: IPAddress.Family = Bool.random(using: &generator) ? .ipv4 : .ipv6
    let source = address(family, using: &generator)
    var rest = bytes(source) + bytes(address(family, using: &generator))
    for _ in 0..<4 { rest.append(UInt8.random(in: 0...255, using: &generator)) }
    for _ in 0..<Int.random(in: 0...4, using: &generator) {
      let count = Int.random(in: 0...100, using: &generator)
      rest += [[0x01, 0x02, 0x04, 0x05, 0x20, 0x30, 0xEA, 0xFF].randomElement(using: &generator)!, 0, UInt8(count)]
      for _ in 0..<count { rest.append(UInt8.random(in: 0...255, using: &generator)) }
    }
    let transport: UInt8 = Bool.random(using: &generator) ? 0x1 : 0x2
    return GeneratedHeader(
      bytes: block(0x21, (family == .ipv4 ? 0x10 : 0x20) | transport, rest), source: source)
  }
}
