import ClientAddress
import RedisFixture
import Testing

@Suite struct AddressBlockTests {
  @Test(
    arguments: [
      ("10.0.0.0/8", "10.0.0.0/8", 8), ("0.0.0.0/0", "0.0.0.0/0", 0), ("192.0.2.1", "192.0.2.1", 32),
      ("192.0.2.1/32", "192.0.2.1", 32), ("192.0.2.128/25", "192.0.2.128/25", 25), ("::/0", "::/0", 0),
      ("::1", "::1", 128), ("::1/128", "::1", 128), ("FD00::/8", "fd00::/8", 8),
      ("2001:db8:0:0::/32", "2001:db8::/32", 32),
      ("2001:db8::8000:0:0:0/65", "2001:db8:0:0:8000::/65", 65), ("::ffff:10.0.0.0/104", "10.0.0.0/8", 8),
      ("::ffff:0:0/96", "0.0.0.0/0", 0), ("::ffff:192.0.2.1", "192.0.2.1", 32),
    ])
  func `a block is read, and written in one form`(text: String, canonical: String, length: Int) throws {
    let block = try AddressBlock(text)
    #expect(block.description == canonical)
    #expect(block.prefixLength == length)
    #expect(try AddressBlock(canonical) == block)
  }

  @Test(
    arguments: [
      (
        "10.0.0.1/8",
        "\"10.0.0.1/8\" has bits set beyond its first 8: 10.0.0.0/8 is the block, and 10.0.0.1 alone is the address"
      ),
      (
        "10.0.0.0/6",
        "\"10.0.0.0/6\" has bits set beyond its first 6: 8.0.0.0/6 is the block, and 10.0.0.0 alone is the address"
      ),
      (
        "0.0.0.1/0",
        "\"0.0.0.1/0\" has bits set beyond its first 0: 0.0.0.0/0 is the block, and 0.0.0.1 alone is the address"
      ),
      (
        "fd00::1/8",
        "\"fd00::1/8\" has bits set beyond its first 8: fd00::/8 is the block, and fd00::1 alone is the address"
      ),
      ("::1/127", "\"::1/127\" has bits set beyond its first 127: ::/127 is the block, and ::1 alone is the address"),
      (
        "::ffff:10.0.0.0/8",
        "\"::ffff:10.0.0.0/8\" has bits set beyond its first 8: an IPv4 block in IPv6 notation needs a length of at least 96"
      ),
      (
        "::ffff:10.0.0.1/104",
        "\"::ffff:10.0.0.1/104\" has bits set beyond its first 104: 10.0.0.0/8 is the block, and 10.0.0.1 alone is the address"
      ),
    ])
  func `an address with bits beyond the length is an error that says so`(text: String, message: String) {
    #expect(throws: InvalidAddress.self) { try AddressBlock(text) }
    do throws(InvalidAddress) {
      _ = try AddressBlock(text)
    } catch {
      #expect(error.description == message)
    }
  }

  @Test(arguments: [
    "10.0.0.0/33", "10.0.0.0/", "10.0.0.0/08", "10.0.0.0/-1", "10.0.0.0/+8", "10.0.0.0/8/8", "10.0.0.0/ 8",
    "10.0.0.0/8 ",
    "::/129", "::/0x8", "::/99999999999999999999", "10.0.0.0/255.0.0.0",
  ])
  func `a length is a decimal number within the family's`(text: String) {
    let width = text.contains(":") ? 128 : 32
    let error = #expect(throws: InvalidAddress.self) { try AddressBlock(text) }
    #expect(error?.description == "expected a length from 0 to \(width) after the slash, got \"\(text)\"")
  }

  @Test(arguments: ["", "/", "/8", "10/8", "10.0.0/8", "example.com", "10.0.0.0-10.0.0.9", " 10.0.0.0/8", "[::]/0"])
  func `a block begins with an address`(text: String) {
    let error = #expect(throws: InvalidAddress.self) { try AddressBlock(text) }
    #expect(
      error?.description == "expected an IPv4 or IPv6 address or a block such as 10.0.0.0/8, got \"\(text)\"")
  }

  @Test func `a block has the addresses that begin as it does`() {
    var generator = SeededGenerator.announced()
    var inside = 0
    for _ in 0..<20_000 {
      let isIPv4 = Bool.random(using: &generator)
      let width = isIPv4 ? 32 : 128
      let length = Int.random(in: 0...width, using: &generator)
      func binary(_ fixed: Substring) -> String {
        String(
          (0..<width - fixed.count).reduce(into: String(fixed)) { text, _ in
            text += Bool.random(using: &generator) ? "1" : "0"
          })
      }
      func address(_ binary: String) -> IPAddress {
        isIPv4 ? IPAddress(ipv4: UInt32(binary, radix: 2)!) : IPAddress(ipv6: UInt128(binary, radix: 2)!)
      }
      let first = binary("").prefix(length)
      let network = address(first + String(repeating: "0", count: width - length))
      // A random IPv6 address that happens to stand for an IPv4 one would be another test.
      let other = binary(first.prefix(Int.random(in: max(0, length - 4)...length, using: &generator)))
      let expected = other.hasPrefix(first)
      if expected { inside += 1 }
      do {
        guard try AddressBlock("\(network)/\(length)").contains(address(other)) == expected else {
          Issue.record("seed \(generator.seed): \(address(other)) and \(network)/\(length)")
          return
        }
      } catch {
        Issue.record("seed \(generator.seed): \(network)/\(length): \(error)")
        return
      }
    }
    #expect(inside > 5_000 && inside < 19_000, "\(inside) were inside")
  }

  @Test func `the families stay apart`() throws {
    #expect(try !AddressBlock("::/0").contains(IPAddress("192.0.2.1")))
    #expect(try !AddressBlock("::/0").contains(IPAddress("::ffff:192.0.2.1")))
    #expect(try AddressBlock("::/0").contains(IPAddress("::192.0.2.1")))
    #expect(try !AddressBlock("0.0.0.0/0").contains(IPAddress("::1")))
    #expect(try AddressBlock("192.0.2.0/24").contains(IPAddress("::ffff:192.0.2.1")))
    #expect(try AddressBlock("::ffff:192.0.2.0/120").contains(IPAddress("192.0.2.1")))
  }
}
