import Crypto
import Testing

@testable import KeyReplica

@Suite struct KeyIDTests {
  private let hex = "2bb80d537b1da3e38bd30361aa855686bde0eacd7162fef6a25fe97bf527a25b"

  @Test func `an id is the SHA-256 of the secret`() {
    #expect(KeyID(secret: "secret".utf8).hex == hex)
    #expect(KeyID(secret: Array("secret".utf8)).hex == hex)
    #expect(KeyID(secret: "secret".utf8.lazy.map { $0 }).hex == hex)
  }

  /// Around the ends of blocks, which the processor's own instructions are given by us.
  @Test func `however long the secret, it is what Crypto's SHA-256 says`() throws {
    var random = Jitter(state: try TestSeed.announced(for: "KeyID"))
    for length in 0...300 {
      let bytes = (0..<length).map { _ in UInt8(truncatingIfNeeded: random.next()) }
      #expect(KeyID(secret: bytes) == KeyID(SHA256.hash(data: bytes)))
      #expect(KeyID(secret: bytes).bytes == Array(SHA256.hash(data: bytes)))
    }
  }

  @Test func `bytes and digits are read back, and nothing of another length is`() throws {
    let id = KeyID(secret: "secret".utf8)
    #expect(KeyID(bytes: id.bytes) == id)
    #expect(KeyID(bytes: [0] + id.bytes) == nil)
    #expect(KeyID(bytes: id.bytes.dropLast()) == nil)
    #expect(KeyID(hex: hex) == id)
    #expect(KeyID(hex: hex.uppercased()) == id)
    #expect(KeyID(hex: hex.dropLast()) == nil)
    #expect(KeyID(hex: "+" + hex.dropFirst()) == nil)
    #expect(KeyID(hex: "é" + hex.dropFirst(2)) == nil)
  }

  @Test(arguments: [2, 4, 1024, 65536]) func `the bucket is the id's first bits`(count: Int) throws {
    let first = try #require(UInt64(hex.prefix(16), radix: 16))
    #expect(KeyID(secret: "secret".utf8).bucket(of: count) == Int(first / (UInt64.max / UInt64(count) + 1)))
    #expect(KeyID(bytes: [UInt8](repeating: 255, count: 32))?.bucket(of: count) == count - 1)
    #expect(KeyID(bytes: [UInt8](repeating: 0, count: 32))?.bucket(of: count) == 0)
  }

  @Test func `a description is too short to be the id`() {
    #expect("\(KeyID(secret: "secret".utf8))" == "2bb80d537b1da3e3…")
  }
}
