import ClientAddress
import RedisFixture
import Testing

@Suite struct ProxyBlockTests {
  private typealias Refusal = ProxyHeader.Refusal

  private static let ipv4: [UInt8] = [192, 0, 2, 7, 198, 51, 100, 1, 0xDC, 0x04, 0x01, 0xBB]
  private static let ipv6: [UInt8] =
    GeneratedHeader.bytes(IPAddress(ipv6: 0x2001_0DB8_0000_0000_0000_0000_0000_0007))
    + GeneratedHeader.bytes(IPAddress(ipv6: 0x2001_0DB8_0000_0000_0000_0000_0000_0001)) + [0xDC, 0x04, 0x01, 0xBB]
  private static let unix = [UInt8](repeating: 0x2F, count: 216)

  private func block(_ command: UInt8, _ family: UInt8, _ rest: [UInt8]) -> [UInt8] {
    GeneratedHeader.block(command, family, rest)
  }

  @Test func `a header names its source`() throws {
    for family in [0x11, 0x12] as [UInt8] {
      #expect(
        outcome(of: block(0x21, family, Self.ipv4)) == .complete(length: 28, source: try IPAddress("192.0.2.7")))
    }
    for family in [0x21, 0x22] as [UInt8] {
      #expect(
        outcome(of: block(0x21, family, Self.ipv6)) == .complete(length: 52, source: try IPAddress("2001:db8::7")))
    }
  }

  @Test func `an IPv6 source that stands for an IPv4 address is it`() throws {
    let mapped: [UInt8] = Array(repeating: 0, count: 10) + [0xFF, 0xFF, 192, 0, 2, 7]
    #expect(
      outcome(of: block(0x21, 0x21, mapped + mapped + [0, 1, 0, 2]))
        == .complete(length: 52, source: try IPAddress("192.0.2.7")))
  }

  @Test func `without an address that means anything the connection keeps its own`() {
    for family in [0x31, 0x32] as [UInt8] {
      #expect(outcome(of: block(0x21, family, Self.unix)) == .complete(length: 232, source: nil))
    }
    for count in [0, 1, 12, 100, 520] {
      let rest = [UInt8](repeating: 0x03, count: count)
      #expect(outcome(of: block(0x21, 0x00, rest)) == .complete(length: 16 + count, source: nil))
    }
  }

  @Test func `a proxy's own connection keeps its own address, whatever else the header says`() {
    for family in UInt8.min...UInt8.max {
      for count in [0, 12, 36, 216] {
        let rest = [UInt8](repeating: 0x03, count: count)
        #expect(ProxyHeader.parse(block(0x20, family, rest).span.bytes) == .complete(length: 16 + count, source: nil))
      }
    }
    #expect(outcome(of: block(0x20, 0x11, Self.ipv4)) == .complete(length: 28, source: nil))
  }

  @Test func `every version, command, family and transport is either known or refused`() {
    for byte in UInt8.min...UInt8.max where byte >> 4 != 2 {
      #expect(outcome(of: GeneratedHeader.signature + [byte]) == .refused(.unsupportedVersion))
    }
    for command in UInt8(2)...15 {
      #expect(outcome(of: GeneratedHeader.signature + [0x20 | command]) == .refused(.unknownCommand))
    }
    for byte in UInt8.min...UInt8.max {
      let expected: Refusal? =
        switch (byte >> 4, byte & 0xF) {
        case (4..., _): .unknownFamily
        case (_, 3...): .unknownTransport
        case (0, 1...), (1..., 0): .unfitTransport
        default: nil
        }
      #expect(outcome(of: GeneratedHeader.signature + [0x21, byte]) == (expected.map { .refused($0) } ?? .incomplete))
    }
  }

  @Test func `a signature is all of its twelve bytes`() {
    for index in 0..<12 {
      var bytes = block(0x21, 0x11, Self.ipv4)
      bytes[index] ^= 0x20
      #expect(outcome(of: bytes) == .refused(.missingHeader))
    }
    #expect(outcome(of: "\r\n\r\nPROXY") == .refused(.missingHeader))
  }

  @Test func `a header has 536 bytes at most, and is refused as soon as it announces more`() {
    let most = [UInt8](repeating: 0, count: ProxyHeader.maximumLength - 16)
    #expect(outcome(of: block(0x21, 0x00, most)) == .complete(length: 536, source: nil))
    #expect(outcome(of: block(0x20, 0x00, most)) == .complete(length: 536, source: nil))
    for command in [0x20, 0x21] as [UInt8] {
      for count in [521, 522, 768, 65_535] {
        let head = GeneratedHeader.signature + [command, 0x00, UInt8(count >> 8), UInt8(count & 0xFF)]
        #expect(outcome(of: head) == .refused(.headerTooLong))
      }
    }
  }

  @Test func `a header has room for the addresses of its family`() {
    for (family, length) in [(0x11, 12), (0x12, 12), (0x21, 36), (0x22, 36), (0x31, 216), (0x32, 216)] as [(UInt8, Int)]
    {
      for count in [0, 1, length - 1] {
        let rest = [UInt8](repeating: 0, count: count)
        #expect(outcome(of: block(0x21, family, rest)) == .refused(.missingAddresses))
      }
    }
  }

  @Test func `extensions are skipped`() throws {
    let source = try IPAddress("192.0.2.7")
    for extensions in [
      [0x04, 0, 0], [0x04, 0, 2, 9, 9], [0xEA, 0, 1, 0, 0x02, 0, 3, 1, 2, 3], [0x04, 0, 0, 0x04, 0, 0, 0x04, 0, 0],
    ] as [[UInt8]] {
      #expect(
        outcome(of: block(0x21, 0x11, Self.ipv4 + extensions))
          == .complete(length: 28 + extensions.count, source: source))
    }
    let long = [0x05, 1, 0] + [UInt8](repeating: 7, count: 256)
    #expect(outcome(of: block(0x21, 0x11, Self.ipv4 + long)) == .complete(length: 28 + 259, source: source))
  }

  @Test(
    arguments: [
      ([0x04], .malformedExtension), ([0x04, 0], .malformedExtension), ([0x04, 0, 1], .malformedExtension),
      ([0x04, 0xFF, 0xFF, 1, 2], .malformedExtension), ([0x04, 0, 1, 9, 0x04], .malformedExtension),
      ([0x03, 0, 4, 1, 2, 3], .malformedExtension), ([0x03, 0, 0], .malformedChecksum),
      ([0x03, 0, 3, 1, 2, 3], .malformedChecksum), ([0x03, 0, 5, 1, 2, 3, 4, 5], .malformedChecksum),
      ([0x03, 0, 4, 1, 2, 3, 4, 0x03, 0, 4, 1, 2, 3, 4], .severalChecksums),
      ([0x03, 0, 4, 0, 0, 0, 0], .wrongChecksum),
    ] as [([UInt8], ProxyHeader.Refusal)])
  func `extensions that aren't such are refused by their names`(extensions: [UInt8], expected: ProxyHeader.Refusal) {
    #expect(outcome(of: block(0x21, 0x11, Self.ipv4 + extensions)) == .refused(expected))
    #expect(outcome(of: block(0x21, 0x21, Self.ipv6 + extensions)) == .refused(expected))
    #expect(outcome(of: block(0x21, 0x31, Self.unix + extensions)) == .refused(expected))
  }

  /// Two headers whose checksums another program has computed.
  @Test(
    arguments: [([0x54, 0x8E, 0x28, 0xFF], []), ([0x77, 0xDD, 0x9C, 0x33], [4, 0, 2, 9, 9])] as [([UInt8], [UInt8])])
  func `a checksum is that of the header with zeros in its place`(checksum: [UInt8], behind: [UInt8]) throws {
    let valid = block(0x21, 0x11, Self.ipv4 + [0x03, 0, 4] + checksum + behind)
    let expected = ProxyHeader.Outcome.complete(length: valid.count, source: try IPAddress("192.0.2.7"))
    #expect(outcome(of: valid) == expected)
    // No bit can change and the source with it; the ones before the length are other refusals, or mean LOCAL.
    for bit in 0..<valid.count * 8 {
      var damaged = valid
      damaged[bit / 8] ^= 1 << (bit % 8)
      let outcome = outcome(of: damaged + [UInt8](repeating: 0, count: ProxyHeader.maximumLength))
      if bit >= 16 * 8, !(28 * 8..<31 * 8).contains(bit), bit < 35 * 8 { #expect(outcome == .refused(.wrongChecksum)) }
      if case .complete(_, let source?) = outcome { #expect(source == (try IPAddress("192.0.2.7")), "bit \(bit)") }
    }
  }

  @Test func `a header is read as it was made up`() {
    var generator = SeededGenerator.announced()
    for _ in 0..<500 {
      let made = GeneratedHeader.block(using: &generator)
      let read = outcome(of: made.bytes)
      guard read == .complete(length: made.bytes.count, source: made.source) else {
        Issue.record("seed \(generator.seed): \(made) is \(read)")
        return
      }
    }
  }
}
