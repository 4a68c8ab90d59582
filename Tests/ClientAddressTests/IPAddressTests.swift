import ClientAddress
import Foundation
import RedisFixture
import Testing

@Suite struct IPAddressTests {
  @Test(
    arguments: [
      "0.0.0.0", "255.255.255.255", "192.0.2.1", "10.20.30.40", "::", "::1", "1::", "2001:db8::1", "fe80::1:0:0:1",
      "1:2:3:4:5:6:7:8", "ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff", "::2:3:4:5:6:7:8", "1:2:3:4:5:6:7::",
      "64:ff9b::c000:201", "::fffe:c000:201",
    ])
  func `what is in canonical form is written as it was read, but for a gap of one group`(text: String) throws {
    let canonical = ["::2:3:4:5:6:7:8": "0:2:3:4:5:6:7:8", "1:2:3:4:5:6:7::": "1:2:3:4:5:6:7:0"]
    #expect(try IPAddress(text).description == canonical[text] ?? text)
  }

  @Test(
    arguments: [
      // RFC 4291 §2.2
      ("ABCD:EF01:2345:6789:ABCD:EF01:2345:6789", "abcd:ef01:2345:6789:abcd:ef01:2345:6789"),
      ("2001:DB8:0:0:8:800:200C:417A", "2001:db8::8:800:200c:417a"), ("FF01:0:0:0:0:0:0:101", "ff01::101"),
      ("0:0:0:0:0:0:0:1", "::1"), ("0:0:0:0:0:0:0:0", "::"), ("0:0:0:0:0:0:13.1.68.3", "::d01:4403"),
      ("::13.1.68.3", "::d01:4403"), ("0:0:0:0:0:FFFF:129.144.52.38", "129.144.52.38"),
      ("::FFFF:129.144.52.38", "129.144.52.38"),
      // RFC 5952 §2 and §4
      ("2001:0db8::0001", "2001:db8::1"), ("2001:db8::0:1", "2001:db8::1"),
      ("2001:db8:0:0:0:0:2:1", "2001:db8::2:1"), ("2001:db8:0:1:1:1:1:1", "2001:db8:0:1:1:1:1:1"),
      ("2001:db8::1:1:1:1:1", "2001:db8:0:1:1:1:1:1"), ("2001:0:0:1:0:0:0:1", "2001:0:0:1::1"),
      ("2001:db8:0:0:1:0:0:1", "2001:db8::1:0:0:1"),
      ("2001:db8:aaaa:bbbb:cccc:dddd:eeee:AAAA", "2001:db8:aaaa:bbbb:cccc:dddd:eeee:aaaa"),
      ("0:0:1:0:0:0:0:0", "0:0:1::"), ("1:0:0:2:0:0:0:0", "1:0:0:2::"), ("64:ff9b::192.0.2.33", "64:ff9b::c000:221"),
      ("1:2:3:4:5:6:192.0.2.33", "1:2:3:4:5:6:c000:221"), ("1:2:3:4:5::192.0.2.33", "1:2:3:4:5:0:c000:221"),
    ])
  func `every form is read, and written in one`(text: String, canonical: String) throws {
    let address = try IPAddress(text)
    #expect(address.description == canonical)
    #expect(try IPAddress(canonical) == address)
  }

  @Test(
    arguments: [
      "", " ", "1", "1.2.3", "1.2.3.4.5", "1.2.3.", ".1.2.3", "1..2.3", "1.2.3.256", "1.2.3.4444444444444444444444",
      "01.2.3.4", "1.2.3.04", "1.2.3.00", "1.2.3.4 ", " 1.2.3.4", "1.2.3.4\0", "1.2.3.4:80", "1.2.3.0x4", "+1.2.3.4",
      "1.2.3.-4",
      "1.2.3.٤", "0x7f000001", "2130706433", "127.1", "1.2.3.4/32", "localhost", "unknown",
      ":", ":::", "::::", "1", "1:", ":1", "1:2:3:4:5:6:7", "1:2:3:4:5:6:7:", ":2:3:4:5:6:7:8", "1:2:3:4:5:6:7:8:9",
      "1:2:3:4:5:6:7:8:",
      "1:2:3:4:5:6:7:8::", "::1:2:3:4:5:6:7:8", "1:2:3:4::5:6:7:8", "1::2::3", "1:::2", "12345::", "00001::", "g::",
      "1::g",
      "::1%eth0", "fe80::1%1", "[::1]", "[::1]:80", "::1/128", "::1 ", " ::1", "::1.2.3", "::1.2.3.4.5", "::1.2.3.04",
      "::1.2.3.4:5", "1.2.3.4::", "1:2:3:4:5:6:7:1.2.3.4", "1:2:3:4:5:6:7::1.2.3.4", "1:2:3:4:5:1.2.3.4", "::1.2.3.256",
      "::ffff:1.2.3.", "::0x1", "::+1", "::１",
    ])
  func `anything else is no address`(text: String) {
    let error = #expect(throws: InvalidAddress.self) { try IPAddress(text) }
    #expect(error?.description == "expected an IPv4 or IPv6 address, got \"\(text)\"")
    #expect(IPAddress(text: Array(text.utf8).span.bytes) == nil)
  }

  @Test func `a long text is shown in part`() {
    let error = #expect(throws: InvalidAddress.self) { try IPAddress(String(repeating: "a", count: 1000)) }
    #expect(error.map { $0.description.utf8.count < 200 } == true)
  }

  @Test func `an IPv4 address in IPv6 is the IPv4 address`() throws {
    let address = try IPAddress("192.0.2.1")
    #expect(address.family == .ipv4)
    for text in ["::ffff:192.0.2.1", "::FFFF:c000:201", "0:0:0:0:0:ffff:c000:0201"] {
      #expect(try IPAddress(text) == address)
      #expect(try IPAddress(text).hashValue == address.hashValue)
    }
    #expect(IPAddress(ipv4: 0xC000_0201) == address)
    #expect(IPAddress(ipv6: 0xFFFF_C000_0201) == address)
    for text in ["::192.0.2.1", "::fffe:192.0.2.1", "::ffff:0:192.0.2.1", "1::ffff:192.0.2.1"] {
      #expect(try IPAddress(text).family == .ipv6)
      #expect(try IPAddress(text) != address)
    }
  }

  @Test func `an address is read from its bytes in network order`() throws {
    let bytes: [UInt8] = [0x20, 0x01, 0x0D, 0xB8, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0x12, 0x34]
    #expect(try IPAddress(bytes: bytes.span.bytes).description == "2001:db8::1234")
    #expect(try IPAddress(bytes: ([192, 0, 2, 1] as [UInt8]).span.bytes).description == "192.0.2.1")
    let mapped: [UInt8] = Array(repeating: 0, count: 10) + [0xFF, 0xFF, 192, 0, 2, 1]
    #expect(try IPAddress(bytes: mapped.span.bytes).description == "192.0.2.1")
    for count in 0...20 where count != 4 && count != 16 {
      let bytes = [UInt8](repeating: 1, count: count)
      #expect(throws: InvalidAddress.self) { try IPAddress(bytes: bytes.span.bytes) }
    }
  }

  @Test func `texts are read as inet_pton reads them`() {
    var generator = SeededGenerator.announced()
    var taken = 0
    var refused = 0
    for _ in 0..<60_000 {
      let text = Self.text(using: &generator)
      let system = SystemAddress(text)
      if system == nil { refused += 1 } else { taken += 1 }
      guard IPAddress(text: Array(text.utf8).span.bytes) == system?.address else {
        Issue.record(
          "seed \(generator.seed): \"\(text)\", which inet_pton reads as \(system.map { "\($0)" } ?? "nothing")")
        return
      }
    }
    #expect(taken > 10_000 && refused > 10_000, "\(taken) taken, \(refused) refused")
  }

  @Test func `addresses are written as inet_ntop writes them`() {
    var generator = SeededGenerator.announced()
    for _ in 0..<20_000 {
      // Many zero groups, so that there are runs of them.
      let groups = (0..<8).map { _ in
        Bool.random(using: &generator) ? 0 : UInt128(generator.next() & (Bool.random(using: &generator) ? 0xF : 0xFFFF))
      }
      let number = groups.reduce(0) { $0 << 16 | $1 }
      let system = SystemAddress(number)
      // It writes the addresses of RFC 4291 §2.5.5.1, which nobody has any more, with dots too.
      guard number >> 32 != 0 else { continue }
      let description = IPAddress(ipv6: number).description
      guard
        description
          == (system.text.hasPrefix("::ffff:") && number >> 32 == 0xFFFF
            ? String(system.text.dropFirst(7)) : system.text)
      else {
        Issue.record("seed \(generator.seed): \(description), which inet_ntop writes as \(system.text)")
        return
      }
    }
  }

  /// Something that is an address in every other case.
  @Test(
    arguments: [
      ("2001:db8:1:2::", "2001:db8:1:2:ffff:ffff:ffff:ffff", true), ("2001:db8:1:2::", "2001:db8:1:3::", false),
      ("192.0.2.1", "192.0.2.2", false), ("::ffff:192.0.2.1", "192.0.2.1", true), ("::1", "::2", true),
      ("64:ff9b::192.0.2.1", "64:ff9b::192.0.2.2", false), ("64:ff9b:0:0:1::1", "64:ff9b:0:0:1::2", true),
    ])
  func `limits count an IPv6 client by its /64, and an IPv4 client by its address`(
    one: String, other: String, areOne: Bool
  ) throws {
    let networks = (try IPAddress(one).network, try IPAddress(other).network)
    #expect((networks.0 == networks.1) == areOne)
    #expect(networks.0.network == networks.0)
  }

  static func text(using generator: inout SeededGenerator) -> String {
    var text = SystemAddress(UInt128.random(in: 0...UInt128.max, using: &generator)).text
    switch Int.random(in: 0..<4, using: &generator) {
    case 0: text = IPAddress(ipv4: UInt32.random(in: 0...UInt32.max, using: &generator)).description
    case 1: break
    default:
      let groups = (0..<Int.random(in: 5...9, using: &generator)).map { _ in
        let group = String(generator.next() & [0, 0xF, 0xFFF, 0xFFFF].randomElement(using: &generator)!, radix: 16)
        return Int.random(in: 0..<4, using: &generator) == 0 ? "" : group
      }
      text = groups.joined(separator: ":")
      if Int.random(in: 0..<3, using: &generator) == 0 {
        text += ":" + IPAddress(ipv4: UInt32.random(in: 0...UInt32.max, using: &generator)).description
      }
    }
    var bytes = Array(text.utf8)
    if Bool.random(using: &generator) {
      for _ in 0..<Int.random(in: 1...2, using: &generator) where !bytes.isEmpty {
        let at = Int.random(in: 0..<bytes.count, using: &generator)
        let byte = "0123456789abcdefABCDEFg:::...% /".utf8.randomElement(using: &generator)!
        switch Int.random(in: 0..<3, using: &generator) {
        case 0: bytes[at] = byte
        case 1: bytes.insert(byte, at: at)
        default: bytes.remove(at: at)
        }
      }
    }
    return String(decoding: bytes, as: UTF8.self)
  }
}
