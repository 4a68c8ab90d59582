import ClientAddress
import RedisFixture
import Testing

@Suite struct ProxyLineTests {
  @Test(
    arguments: [
      // The specification's own example.
      ("TCP4 192.168.0.1 192.168.0.11 56324 443", "192.168.0.1"),
      ("TCP4 255.255.255.255 255.255.255.255 65535 65535", "255.255.255.255"),
      ("TCP4 0.0.0.0 0.0.0.0 0 0", "0.0.0.0"),
      (
        "TCP6 ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff 65535 65535",
        "ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff"
      ),
      ("TCP6 2001:db8::7 2001:DB8::1 1024 443", "2001:db8::7"), ("TCP6 ::1 :: 1 1", "::1"),
      ("TCP6 2001:0db8:0000:0000:0000:0000:0000:0007 ::1 1 1", "2001:db8::7"),
      // As HAProxy writes a client of a socket for both families.
      ("TCP6 ::ffff:127.0.0.7 ::ffff:127.0.0.1 1 1", "127.0.0.7"),
    ])
  func `a line names its source`(line: String, source: String) throws {
    #expect(
      outcome(of: "PROXY \(line)\r\n") == .complete(length: line.utf8.count + 8, source: try IPAddress(source)))
  }

  @Test(
    arguments: [
      "", " ", "  ", " TCP4 1.2.3.4", " anything at all\t\0\u{7f}é \\r\\n",
      " ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff 65535 65535",
    ])
  func `an unknown client leaves the connection its own address, whatever else the line says`(rest: String) {
    #expect(outcome(of: "PROXY UNKNOWN\(rest)\r\n") == .complete(length: 15 + rest.utf8.count, source: nil))
  }

  @Test(
    arguments: [
      ("GET / HTTP/1.1\r\n", .missingHeader), ("\u{16}\u{3}\u{1}", .missingHeader), ("proxy TCP4", .missingHeader),
      ("PROXYTCP4", .missingHeader), ("PROXY\r\n", .missingHeader), ("PROXY\tTCP4", .missingHeader),
      (" PROXY", .missingHeader), ("PROXI", .missingHeader), ("\0", .missingHeader), ("\n", .missingHeader),
      ("PROXY  TCP4", .unknownProtocol), ("PROXY \r\n", .unknownProtocol), ("PROXY tcp4", .unknownProtocol),
      ("PROXY TCP5", .unknownProtocol), ("PROXY TCP ", .unknownProtocol), ("PROXY UDP4", .unknownProtocol),
      ("PROXY TCP44", .unknownProtocol), ("PROXY TCP4\t", .unknownProtocol), ("PROXY UNKNOWNS\r\n", .unknownProtocol),
      ("PROXY UNKNOWN\t\r\n", .unknownProtocol), ("PROXY Unknown\r\n", .unknownProtocol),
      ("PROXY UNIX", .unknownProtocol),
      ("PROXY TCP4  1.2.3.4", .emptyField), ("PROXY TCP4 1.2.3.4  1.2.3.5", .emptyField),
      ("PROXY TCP4 1.2.3.4 1.2.3.5  1 2\r\n", .emptyField), ("PROXY TCP4 1.2.3.4 1.2.3.5 1  2\r\n", .emptyField),
      ("PROXY TCP4 \r\n", .emptyField), ("PROXY TCP4 1.2.3.4 1.2.3.5 1 \r\n", .emptyField),
      ("PROXY TCP4\r\n", .missingField), ("PROXY TCP4 1.2.3.4\r\n", .missingField),
      ("PROXY TCP4 1.2.3.4 1.2.3.5\r\n", .missingField), ("PROXY TCP4 1.2.3.4 1.2.3.5 1\r\n", .missingField),
      ("PROXY TCP6\r", .missingField), ("PROXY TCP4 1.2.3.4 1.2.3.5 1 2 \r\n", .extraField),
      ("PROXY TCP4 1.2.3.4 1.2.3.5 1 2 3\r\n", .extraField), ("PROXY TCP4 1.2.3.4 1.2.3.5 1 x ", .extraField),
      ("PROXY TCP4 1.2.3 1.2.3.5 1 2\r\n", .invalidSourceAddress), ("PROXY TCP4 1.2.3.04 ", .invalidSourceAddress),
      ("PROXY TCP4 1.2.3.256 ", .invalidSourceAddress), ("PROXY TCP4 ::1 ", .invalidSourceAddress),
      ("PROXY TCP4 ::ffff:1.2.3.4 ", .invalidSourceAddress), ("PROXY TCP4 1.2.3.4:5 ", .invalidSourceAddress),
      ("PROXY TCP4 1.2.3.4\t1.2.3.5 ", .invalidSourceAddress), ("PROXY TCP4 \0 ", .invalidSourceAddress),
      ("PROXY TCP6 1.2.3.4 ", .invalidSourceAddress), ("PROXY TCP6 [::1] ", .invalidSourceAddress),
      ("PROXY TCP6 ::1%lo ", .invalidSourceAddress), ("PROXY TCP6 1::2::3 ", .invalidSourceAddress),
      ("PROXY TCP4 localhost ", .invalidSourceAddress), ("PROXY TCP4 1.2.3.4 ::1 ", .invalidDestinationAddress),
      ("PROXY TCP6 ::1 1.2.3.4 ", .invalidDestinationAddress),
      ("PROXY TCP4 1.2.3.4 1.2.3 ", .invalidDestinationAddress),
      ("PROXY TCP4 1.2.3.4 1.2.3.5 01 ", .invalidSourcePort), ("PROXY TCP4 1.2.3.4 1.2.3.5 00 ", .invalidSourcePort),
      ("PROXY TCP4 1.2.3.4 1.2.3.5 65536 ", .invalidSourcePort), ("PROXY TCP4 1.2.3.4 1.2.3.5 -1 ", .invalidSourcePort),
      ("PROXY TCP4 1.2.3.4 1.2.3.5 +1 ", .invalidSourcePort), ("PROXY TCP4 1.2.3.4 1.2.3.5 0x1 ", .invalidSourcePort),
      ("PROXY TCP4 1.2.3.4 1.2.3.5 99999999999999999999999999 ", .invalidSourcePort),
      ("PROXY TCP4 1.2.3.4 1.2.3.5 1 02\r", .invalidDestinationPort),
      ("PROXY TCP4 1.2.3.4 1.2.3.5 1 65536\r", .invalidDestinationPort),
      ("PROXY TCP4 1.2.3.4 1.2.3.5 1 2\t\r", .invalidDestinationPort), ("PROXY TCP4\n", .bareLineFeed),
      ("PROXY TCP4 1.2.3.4\n", .bareLineFeed), ("PROXY TCP4 1.2.3.4 1.2.3.5 1 2\n", .bareLineFeed),
      ("PROXY UNKNOWN\n", .bareLineFeed), ("PROXY UNKNOWN ab\nc\r\n", .bareLineFeed),
      ("PROXY TCP4 1.2.3.4 1.2.3.5 1 2\r\r\n", .bareCarriageReturn),
      ("PROXY TCP4 1.2.3.4 1.2.3.5 1 2\rG", .bareCarriageReturn), ("PROXY UNKNOWN\rX", .bareCarriageReturn),
      ("PROXY UNKNOWN a\rb\r\n", .bareCarriageReturn), ("PROXY UNKNOWN\r\r\n", .bareCarriageReturn),
    ] as [(String, ProxyHeader.Refusal)])
  func `anything else is refused by its name`(line: String, expected: ProxyHeader.Refusal) {
    #expect(outcome(of: line) == .refused(expected))
  }

  @Test func `a line has 107 bytes at most`() {
    let longest = "PROXY UNKNOWN \(String(repeating: "x", count: 91))\r\n"
    #expect(longest.utf8.count == ProxyHeader.maximumLineLength)
    #expect(outcome(of: longest) == .complete(length: 107, source: nil))
    #expect(outcome(of: "PROXY UNKNOWN \(String(repeating: "x", count: 92))\r\n") == .refused(.lineTooLong))
    // It is refused with the last byte that it might have had.
    #expect(outcome(of: "PROXY UNKNOWN \(String(repeating: "x", count: 92))") == .incomplete)
    #expect(outcome(of: "PROXY UNKNOWN \(String(repeating: "x", count: 93))") == .refused(.lineTooLong))
    #expect(outcome(of: "PROXY TCP4 \(String(repeating: "1", count: 96))") == .refused(.lineTooLong))
    let address = "0000:0000:0000:0000:0000:ffff:255.255.255.255"
    #expect(outcome(of: "PROXY TCP6 \(address) \(address) 65535 65535\r\n") == .refused(.lineTooLong))
  }

  @Test func `every beginning of a line is incomplete`() {
    for line in ["PROXY TCP4 1.2.3.4 1.2.3.5 10 20\r\n", "PROXY TCP6 ::1 2::3 10 20\r\n", "PROXY UNKNOWN abc\r\n"] {
      for count in 0..<line.utf8.count { #expect(outcome(of: Array(line.utf8.prefix(count))) == .incomplete) }
    }
  }

  /// The line as the specification's words would be taken by somebody who has all of it.
  private static func plainReading(_ stream: [UInt8]) -> ProxyHeader.Outcome? {
    let bytes = stream.prefix(107)
    guard let end = bytes.indices.dropLast().first(where: { bytes[$0] == 0x0D && bytes[$0 + 1] == 0x0A }),
      !bytes[..<end].contains(0x0D), !bytes[..<end].contains(0x0A)
    else { return nil }
    let words = bytes[..<end].split(separator: 0x20, omittingEmptySubsequences: false).map {
      String(decoding: $0, as: UTF8.self)
    }
    guard words.count > 1, words[0] == "PROXY" else { return nil }
    if words[1] == "UNKNOWN" { return .complete(length: end + 2, source: nil) }
    guard words.count == 6, ["TCP4", "TCP6"].contains(words[1]) else { return nil }
    for address in words[2...3] where address.contains(":") != (words[1] == "TCP6") { return nil }
    for port in words[4...5] { guard let number = UInt16(port), "\(number)" == port else { return nil } }
    guard let source = SystemAddress(words[2]), SystemAddress(words[3]) != nil else { return nil }
    return .complete(length: end + 2, source: source.address)
  }

  @Test func `damaged lines are taken if and only if they are lines`() {
    var generator = SeededGenerator.announced()
    var taken = 0
    var refusals: [ProxyHeader.Refusal: Int] = [:]
    for _ in 0..<10_000 {
      var stream = GeneratedHeader.line(using: &generator).bytes + Array("GET / HTTP/1.1\r\n\r\n".utf8)
      for _ in 0..<Int.random(in: 0...2, using: &generator) {
        let at = Int.random(in: 0..<min(stream.count, 70), using: &generator)
        let byte = "0123456789af:::...   \r\n\r\nTCP46UX\0".utf8.randomElement(using: &generator)!
        switch Int.random(in: 0..<3, using: &generator) {
        case 0: stream[at] = byte
        case 1: stream.insert(byte, at: at)
        default: stream.remove(at: at)
        }
      }
      let read = ProxyHeader.parse(stream.span.bytes)
      switch read {
      case .complete: taken += 1
      case .refused(let refusal): refusals[refusal, default: 0] += 1
      case .incomplete: break
      }
      let expected = Self.plainReading(stream)
      var agrees = read == expected
      if expected == nil { if case .complete = read { agrees = false } else { agrees = true } }
      guard agrees else {
        let text = String(decoding: stream, as: UTF8.self).debugDescription
        Issue.record(
          "seed \(generator.seed): \(text) is \(read), and should be \(expected.map { "\($0)" } ?? "refused")")
        return
      }
    }
    #expect(taken > 2_000, "\(taken) were taken")
    #expect(refusals.count >= 11 && refusals.values.reduce(0, +) > 2_000, "\(refusals)")
  }
}
