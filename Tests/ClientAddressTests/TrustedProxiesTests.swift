import ClientAddress
import Testing

@Suite struct TrustedProxiesTests {
  @Test func `a setting is blocks with commas between them`() throws {
    let trusted = try TrustedProxies("10.0.0.0/8, ::1,\tfd00::/8 ,192.0.2.7")
    #expect(trusted.description == "10.0.0.0/8, ::1, fd00::/8, 192.0.2.7")
    #expect(try TrustedProxies(trusted.description) == trusted)
    for text in ["10.1.2.3", "::1", "fd12::1", "192.0.2.7", "::ffff:10.1.2.3"] {
      #expect(try trusted.contains(IPAddress(text)), "\(text)")
    }
    for text in ["11.0.0.1", "::2", "fe00::1", "192.0.2.8"] {
      #expect(try !trusted.contains(IPAddress(text)), "\(text)")
    }
  }

  @Test func `nobody is trusted unless told`() throws {
    #expect(TrustedProxies.none.blocks.isEmpty)
    #expect(try !TrustedProxies.none.contains(IPAddress("127.0.0.1")))
    #expect(TrustedProxies.none.description == "")
  }

  @Test(arguments: [
    ("", "\"\""), (" ", "\"\""), ("10.0.0.0/8,", "\"\""), (",10.0.0.0/8", "\"\""), ("10.0.0.0/8,,::1", "\"\""),
    ("10.0.0.0/8 ::1", "\"10.0.0.0/8 ::1\""), ("::1, 10.0.0.1/8", "\"10.0.0.1/8\""), ("::1,localhost", "\"localhost\""),
    ("::1;::2", "\"::1;::2\""), ("\n::1", "\"\n::1\""),
  ])
  func `one that isn't a block is an error that shows it`(text: String, culprit: String) {
    let error = #expect(throws: InvalidAddress.self) { try TrustedProxies(text) }
    #expect(error.map { $0.description.contains(culprit) } == true)
  }

  @Test func `a list has a bound`() throws {
    let most = Array(repeating: "::1", count: TrustedProxies.maximumCount)
    #expect(try TrustedProxies(most.joined(separator: ",")).blocks.count == TrustedProxies.maximumCount)
    let error = #expect(throws: InvalidAddress.self) { try TrustedProxies((most + ["::1"]).joined(separator: ",")) }
    #expect(error?.description == "expected at most 512 blocks, got 513")
  }
}
