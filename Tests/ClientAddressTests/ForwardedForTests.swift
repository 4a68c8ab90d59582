import ClientAddress
import RedisFixture
import Testing

@Suite struct ForwardedForTests {
  /// Whom a request comes from that has these lines.
  private func client(_ peer: String, _ lines: [String], trusting: String = "10.0.0.0/8, fd00::/8") throws -> String {
    try "\(ForwardedForTests.client(IPAddress(peer), lines, trusting: TrustedProxies(trusting)))"
  }

  private static func client(_ peer: IPAddress, _ lines: [String], trusting: TrustedProxies) -> IPAddress {
    // As in a head: other things stand before, between and behind.
    var bytes = Array("GET / HTTP/1.1\r\n".utf8)
    var values: [Range<Int>] = []
    for line in lines {
      bytes += Array("X-Forwarded-For: ".utf8)
      values.append(bytes.count..<bytes.count + line.utf8.count)
      bytes += Array(line.utf8) + [0x0D, 0x0A]
    }
    bytes += [0x0D, 0x0A]
    return ForwardedFor.client(peer: peer, trusted: trusting, values: values, in: bytes.span.bytes)
  }

  @Test func `who isn't a trusted proxy is the client, whatever it says`() throws {
    for line in ["10.0.0.1", "203.0.113.9", "203.0.113.9, 10.0.0.1", "", "x"] {
      #expect(try client("192.0.2.1", [line]) == "192.0.2.1")
      #expect(try client("2001:db8::1", [line]) == "2001:db8::1")
    }
    #expect(try client("192.0.2.1", []) == "192.0.2.1")
    let peer = try IPAddress("10.0.0.1")
    #expect(Self.client(peer, ["203.0.113.9"], trusting: .none) == peer)
  }

  @Test(
    arguments: [
      ([], "10.0.0.1"), (["203.0.113.9"], "203.0.113.9"), (["2001:db8::9"], "2001:db8::9"),
      (["203.0.113.9, 10.0.0.2"], "203.0.113.9"), (["203.0.113.9, 10.0.0.3, fd00::7, 10.0.0.2"], "203.0.113.9"),
      // What the client itself sent.
      (["198.51.100.1, 203.0.113.9"], "203.0.113.9"), (["10.9.9.9, 203.0.113.9, 10.0.0.2"], "203.0.113.9"),
      (["garbage, 203.0.113.9"], "203.0.113.9"), ([", 203.0.113.9"], "203.0.113.9"),
      (["\u{1}\u{ff},\"203.0.113.9"], "10.0.0.1"),
      // Lines are one list.
      (["198.51.100.1", "203.0.113.9"], "203.0.113.9"), (["203.0.113.9", "10.0.0.2"], "203.0.113.9"),
      (["198.51.100.1, 203.0.113.9", "10.0.0.3, 10.0.0.2"], "203.0.113.9"),
      // All addresses are trusted, so the first one is the client's.
      (["10.0.0.3, 10.0.0.2"], "10.0.0.3"), (["10.0.0.4", "10.0.0.3", "10.0.0.2"], "10.0.0.4"),
      // An IPv4 address in IPv6 is the IPv4 address.
      (["203.0.113.9, ::ffff:10.0.0.2"], "203.0.113.9"), (["::ffff:203.0.113.9"], "203.0.113.9"),
    ])
  func `the last address that isn't a trusted proxy's is the client's`(lines: [String], expected: String) throws {
    #expect(try client("10.0.0.1", lines) == expected)
    #expect(try client("fd00::1", lines) == (expected == "10.0.0.1" ? "fd00::1" : expected))
    #expect(try client("::ffff:10.0.0.1", lines) == expected)
  }

  @Test(
    arguments: [
      ("203.0.113.9:567", "203.0.113.9"), ("203.0.113.9:0", "203.0.113.9"), ("203.0.113.9:65535", "203.0.113.9"),
      ("[2001:db8::9]", "2001:db8::9"), ("[2001:db8::9]:567", "2001:db8::9"), ("[::ffff:203.0.113.9]:1", "203.0.113.9"),
      ("2001:db8::9:567", "2001:db8::9:567"), ("2001:DB8:0::9", "2001:db8::9"),
    ])
  func `an address may have a port and blanks around it`(element: String, expected: String) throws {
    for line in [
      "\(element)", " \(element)\t ", "198.51.100.1,\(element)", "\(element) ,\t10.0.0.2", "\(element),10.0.0.2:80",
    ] {
      #expect(try client("10.0.0.1", [line]) == expected, "\(line)")
    }
  }

  @Test(
    arguments: [
      "", " ", "unknown", "_hidden", "localhost", "203.0.113", "203.0.113.09", "203.0.113.9:", "203.0.113.9:65536",
      "203.0.113.9:01", "203.0.113.9:-1", "203.0.113.9:1:2", "203.0.113.9 567", "203.0.113.9 :567", "203.0.113.9/32",
      "[203.0.113.9]",
      "[203.0.113.9]:567", "[2001:db8::9", "2001:db8::9]", "[2001:db8::9]567", "[2001:db8::9]:", "[2001:db8::9]:x",
      "[2001:db8::9]:567]", "[[2001:db8::9]]", "[2001:db8::9] :567", "[]", "[", "[]:1", "2001:db8::9%eth0",
      "\"203.0.113.9\"", "for=203.0.113.9",
      "203.0.113.9;203.0.113.8", "203.0.113.9\0", "203.0.113.9\r", "２03.0.113.9",
    ])
  func `the walk ends before what isn't an address`(element: String) throws {
    #expect(try client("10.0.0.1", [element]) == "10.0.0.1")
    #expect(try client("10.0.0.1", ["203.0.113.9", element]) == "10.0.0.1")
    #expect(try client("10.0.0.1", ["203.0.113.9, \(element), 10.0.0.2"]) == "10.0.0.2")
    #expect(try client("10.0.0.1", ["203.0.113.9", "\(element),10.0.0.2"]) == "10.0.0.2")
    #expect(try client("10.0.0.1", ["203.0.113.9,\(element)", "10.0.0.3", "10.0.0.2"]) == "10.0.0.3")
  }

  @Test func `no more hops are gone than the bound`() throws {
    let most = ForwardedFor.maximumHops
    func line(_ proxies: Int) -> String {
      (["203.0.113.9"] + (0..<proxies).reversed().map { "10.0.1.\($0)" }).joined(separator: ", ")
    }
    #expect(try client("10.0.0.1", [line(most - 1)]) == "203.0.113.9")
    #expect(try client("10.0.0.1", [line(most)]) == "10.0.1.\(most - 1)")
    #expect(try client("10.0.0.1", [line(255)]) == "10.0.1.\(most - 1)")
    #expect(try client("10.0.0.1", line(255).split(separator: ",").map { String($0) }) == "10.0.1.\(most - 1)")
  }

  @Test func `chains of proxies lead to who they were made for`() throws {
    var generator = SeededGenerator.announced()
    let trusted = try TrustedProxies("10.0.0.0/8, 172.16.0.0/12, fd00::/8")
    func proxy(_ generator: inout SeededGenerator) -> IPAddress {
      let low = UInt32.random(in: 0...0xF_FFFF, using: &generator)
      return [
        IPAddress(ipv4: 0x0A00_0000 | low), IPAddress(ipv4: 0xAC10_0000 | low),
        IPAddress(ipv6: 0xFD00 << 112 | UInt128(low)),
      ].randomElement(using: &generator)!
    }
    func written(_ address: IPAddress, _ generator: inout SeededGenerator) -> String {
      var text = "\(address)"
      if Bool.random(using: &generator) {
        let port = UInt16.random(in: 0...UInt16.max, using: &generator)
        text = address.family == .ipv6 ? "[\(text)]:\(port)" : "\(text):\(port)"
      }
      let blanks = ["", " ", "\t", "  "]
      return blanks.randomElement(using: &generator)! + text + blanks.randomElement(using: &generator)!
    }
    for _ in 0..<3_000 {
      // The client's own header values, with trusted addresses among them; then its address, added by the proxies.
      let client = GeneratedHeader.address(.ipv6, using: &generator)
      var elements = (0..<Int.random(in: 0...4, using: &generator)).map { _ in
        Int.random(in: 0..<4, using: &generator) == 0 ? "forged" : written(proxy(&generator), &generator)
      }
      elements.append(written(client, &generator))
      for _ in 0..<Int.random(in: 0...6, using: &generator) { elements.append(written(proxy(&generator), &generator)) }
      var lines: [String] = [elements[0]]
      for element in elements.dropFirst() {
        if Bool.random(using: &generator) { lines[lines.count - 1] += ",\(element)" } else { lines.append(element) }
      }
      let peer = proxy(&generator)
      let found = Self.client(peer, lines, trusting: trusted)
      guard found == client else {
        Issue.record("seed \(generator.seed): \(lines) behind \(peer) leads to \(found) and not to \(client)")
        return
      }
    }
  }

  @Test func `random bytes do no harm`() throws {
    var generator = SeededGenerator.announced()
    let trusted = try TrustedProxies("0.0.0.0/1, ::/1")
    let peer = try IPAddress("10.0.0.1")
    let alphabet = Array("0123456789abcdef::::....,,,  []\t\0x".utf8) + [0xFF]
    var found = 0
    for _ in 0..<20_000 {
      let bytes = (0..<Int.random(in: 0...40, using: &generator)).map { _ in alphabet.randomElement(using: &generator)!
      }
      let cut = Int.random(in: 0...bytes.count, using: &generator)
      let client = ForwardedFor.client(
        peer: peer, trusted: trusted, values: [0..<cut, cut..<bytes.count], in: bytes.span.bytes)
      if client != peer { found += 1 }
    }
    #expect(found > 10, "\(found) had an address")
  }
}
