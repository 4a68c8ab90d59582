import CZlib
import IngestQueue
import IngestWorker
import RedisFixture
import Testing

struct BodyDecodingTests {
  private static let text = Array(String(repeating: "the quick brown fox; ", count: 200).utf8)

  private func decode(
    _ bytes: [UInt8], label: String?, type: String? = "application/json", limit: Int = 1 << 20
  ) throws -> DecodedBody {
    var header = EnvelopeHeader.numbered(0)
    header.contentEncoding = label
    header.contentType = type
    return try BodyDecoding(limit: limit).decode(Envelope(header: header, payload: bytes[...]))
  }

  @Test(arguments: ["gzip", "x-gzip", "deflate", "GZIP", " gzip ", "identity, gzip", nil, "", "identity", "br"])
  func `what is gzip or zlib by its first bytes and inflates is decoded, whatever its label says`(label: String?) throws
  {
    let gzip = try decode(Compression.gzip(Self.text), label: label)
    #expect(gzip.bytes.elementsEqual(Self.text))
    #expect(gzip.undone == "gzip")
    for level in Int32(-1)...9 {
      let zlib = try decode(Compression.zlib(Self.text, level: level), label: label)
      #expect(zlib.bytes.elementsEqual(Self.text))
      #expect(zlib.undone == "zlib")
    }
  }

  @Test(arguments: ["gzip", "deflate", nil, "", "zstd"])
  func `what isn't compressed by its first bytes is stored as it is, whatever its label says`(label: String?) throws {
    var bodies: [[UInt8]] = [[], [0x1F], [0x78], [0x1F, 0x8C, 1], [0x78, 0x9D, 1], Self.text, Array("x=1&y=2".utf8)]
    bodies.append([0x28, 0xB5, 0x2F, 0xFD, 0, 1, 2])
    bodies.append(try Compression.raw(Self.text))
    for body in bodies {
      let decoded = try decode(body, label: label)
      #expect(Array(decoded.bytes) == body)
      #expect(decoded.undone == nil)
    }
  }

  /// Streams that begin well and end badly, with the word that says how.
  private static func broken() throws -> [(body: [UInt8], word: String)] {
    let gzip = try Compression.gzip(text)
    let zlib = try Compression.zlib(text)
    var flipped = gzip
    flipped[gzip.count - 6] ^= 1
    var corrupt = zlib
    corrupt[zlib.count / 2] ^= 0xFF
    return [
      (Array(gzip.dropLast()), "its end is missing"), (Array(gzip.prefix(12)), "its end is missing"),
      ([0x1F, 0x8B], "its end is missing"), ([0x78, 0x9C], "its end is missing"), (flipped, "incorrect data check"),
      (corrupt, "corrupt"), (gzip + [0], "1 bytes come after its end"), (gzip + text, "come after its end"),
      (zlib + zlib, "\(zlib.count) bytes come after its end"), (Array("x^2 + y^2".utf8), "corrupt"),
      ([0x1F, 0x8B, 0xFF, 0xFF, 0xFF] + text, "corrupt"), (gzip + gzip.dropLast(3), "its end is missing"),
    ]
  }

  @Test func `what is labelled compressed, begins like it and can't be undone is undecodable, with the reason`() throws
  {
    for (body, word) in try Self.broken() {
      let error = #expect(throws: UndecodableBody.self) { try decode(body, label: "gzip") }
      #expect(error?.description.contains(word) == true, "\(String(describing: error)) lacks \(word)")
    }
  }

  @Test(arguments: [nil, "", "identity", "br"])
  func `what isn't labelled compressed and only begins like it is stored byte for byte`(label: String?) throws {
    for (body, _) in try Self.broken() {
      #expect(Array(try decode(body, label: label).bytes) == body)
    }
  }

  @Test func `a gzip body of several members is decoded as one`() throws {
    let parts = [Self.text, [], [1, 2, 3]]
    let body = try parts.flatMap { try Compression.gzip($0) }
    #expect(Array(try decode(body, label: "gzip").bytes) == parts.flatMap(\.self))
  }

  @Test func `no more than the limit comes out of a body, and exactly the limit may`() throws {
    let limit = 200_000
    let exact = [UInt8](repeating: 7, count: limit)
    #expect(Array(try decode(Compression.gzip(exact), label: "gzip", limit: limit).bytes) == exact)
    let bomb = try Compression.gzip(exact + [7])
    let error = #expect(throws: UndecodableBody.self) { try decode(bomb, label: "gzip", limit: limit) }
    #expect(error?.description.contains("more than \(limit) bytes") == true)
    #expect(Array(try decode(bomb, label: nil, limit: limit).bytes) == bomb)
    // Many members, each below the limit.
    let members = try (0..<10).flatMap { _ in try Compression.gzip(exact.prefix(limit / 4)) }
    #expect(throws: UndecodableBody.self) { try decode(members, label: "gzip", limit: limit) }
  }

  @Test func `a payload that is a compressed file by its type stays one, unless its label says that it is wrapped`()
    throws
  {
    let file = try Compression.gzip(Self.text)
    #expect(Array(try decode(file, label: nil, type: "application/gzip; a=b").bytes) == file)
    #expect(Array(try decode(file, label: "gzip", type: "application/gzip").bytes) == Self.text)
    #expect(Array(try decode(Compression.gzip(file), label: "gzip", type: "application/gzip").bytes) == file)
  }

  @Test func `random bytes are stored as they are, also when they begin like something compressed`() throws {
    var generator = SeededGenerator.announced()
    for _ in 0..<300 {
      var body = (0..<Int.random(in: 0...400, using: &generator)).map { _ in
        UInt8.random(in: 0...255, using: &generator)
      }
      let beginning: [UInt8] =
        [[], [0x1F, 0x8B], [0x1F, 0x8B, 8, 0], [0x78, 0x9C], [0x78, 0x01]].randomElement(
          using: &generator) ?? []
      body.insert(contentsOf: beginning, at: 0)
      #expect(Array(try decode(body, label: nil, type: nil).bytes) == body)
    }
  }

  @Test func `a compressed body with any one byte changed never decodes to something else unnoticed`() throws {
    var generator = SeededGenerator.announced()
    let gzip = try Compression.gzip(Self.text)
    for _ in 0..<500 {
      var body = gzip
      let place = Int.random(in: 2..<body.count, using: &generator)
      body[place] ^= UInt8.random(in: 1...255, using: &generator)
      // The header has fields that no checksum covers (time, system, level): then the contents are right all the same.
      if let decoded = try? decode(body, label: "gzip") { #expect(decoded.bytes.elementsEqual(Self.text)) }
    }
  }
}
