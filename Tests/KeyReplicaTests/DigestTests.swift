import Crypto
import Foundation
import Testing

@testable import KeyReplica

@Suite struct DigestTests {
  private let first = Digest(of: KeyID(secret: "secret".utf8), record: "1 a 1763683200 acme".utf8)
  private let second = Digest(of: KeyID(secret: "other".utf8), record: "1 r 0 été co".utf8)

  // Both made by Python's hashlib: sha1(sha256(secret) + record), its first 32 digits.
  @Test func `it is the first half of SHA-1 over id and record`() {
    #expect(first.hex == "b9acaa9670ef04eee971946308b4e0a9")
    #expect(second.hex == "f0e7a576b2acee6a5be819154e41a6a2")
  }

  /// Around the ends of blocks, which the processor's own instructions are given by us.
  @Test func `however long the record, it is what Crypto's SHA-1 says`() throws {
    var random = Jitter(state: try TestSeed.announced(for: "Digest"))
    for length in 0...300 {
      let bytes = (0..<32 + length).map { _ in UInt8(truncatingIfNeeded: random.next()) }
      let id = try #require(KeyID(bytes: bytes.prefix(32)))
      let expected = Insecure.SHA1.hash(data: bytes).prefix(16).map { String(format: "%02x", $0) }.joined()
      #expect(bytes.withUnsafeBytes { Digest(ofIDAndRecord: $0) }.hex == expected)
      #expect(Digest(of: id, record: bytes.dropFirst(32)).hex == expected)
    }
  }

  @Test func `a set's digest doesn't depend on the order, and what is taken out is gone`() {
    var (forth, back) = (Digest.empty, Digest.empty)
    forth ^= first
    forth ^= second
    back ^= second
    back ^= first
    #expect(forth == back)
    #expect(forth.hex == "494b0fe0c243ea84b2998d7646f5460b")
    forth ^= first
    #expect(forth == second)
    forth ^= second
    #expect(forth == .empty)
  }

  @Test func `only 32 hexadecimal digits are a digest`() {
    #expect(Digest(hex: first.hex) == first)
    #expect(Digest(hex: Digest.empty.hex) == .empty)
    let digits = first.hex
    let wrongs: [String] = [
      String(digits.dropLast()), "\(digits)0", "+\(digits.dropFirst())", "\(digits.prefix(16))+\(digits.suffix(15))",
      "g\(digits.dropFirst())", "１\(digits.dropFirst(3))",
    ]
    for wrong in wrongs {
      #expect(Digest(hex: wrong) == nil, "\(wrong)")
    }
  }
}
