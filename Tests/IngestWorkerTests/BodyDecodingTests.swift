import CompressionFixture
import IngestQueue
import IngestWorker
import QueueFixture
import RedisFixture
import Testing

struct BodyDecodingTests {
  private static let text = Array(String(repeating: "the quick brown fox; ", count: 200).utf8)

  private func decode(
    _ bytes: [UInt8], label: String?, type: String? = "application/json", limit: Int = 1 << 20
  ) throws -> DecodedBody {
    let header = header(label: label, type: type)
    return try BodyDecoding(limit: limit).decode(Envelope(header: header, payload: bytes[...]))
  }

  private func header(label: String?, type: String? = "application/json") -> EnvelopeHeader {
    var header = EnvelopeHeader.numbered(0)
    header.contentEncoding = label
    header.contentType = type
    return header
  }

  @Test(arguments: [
    "gzip", "x-gzip", "deflate", "zlib", "zstd", "br", "GZIP", " gzip ", "identity, gzip", nil, "", "identity",
    "snappy",
  ])
  func `what is gzip, zlib or zstd by its first bytes and decodes is decoded, whatever its label says`(label: String?)
    throws
  {
    let gzip = try decode(Compression.gzip(Self.text), label: label)
    #expect(gzip.bytes.elementsEqual(Self.text))
    #expect(gzip.undone == "gzip")
    for level in Int32(-1)...9 {
      let zlib = try decode(Compression.zlib(Self.text, level: level), label: label)
      #expect(zlib.bytes.elementsEqual(Self.text))
      #expect(zlib.undone == "zlib")
      let zstd = try decode(Compression.zstd(Self.text, level: level, checksum: level > 3), label: label)
      #expect(zstd.bytes.elementsEqual(Self.text))
      #expect(zstd.undone == "zstd")
    }
  }

  @Test(arguments: ["br", "BR", " br", "identity, br"])
  func `what is labelled br and decodes to its end is decoded`(label: String) throws {
    for quality: UInt32 in [0, 1, 5, 11] {
      for contents in [Self.text, [0xFF, 0, 0xFE], []] {
        let decoded = try decode(Compression.brotli(contents, quality: quality), label: label)
        #expect(decoded.bytes.elementsEqual(contents))
        #expect(decoded.undone == "br")
      }
    }
  }

  @Test(arguments: ["gzip", "zstd", nil, "", "identity", "br, identity"])
  func `brotli that isn't labelled so is stored as it is, for nothing else tells it`(label: String?) throws {
    let body = try Compression.brotli(Self.text)
    let decoded = try decode(body, label: label)
    #expect(Array(decoded.bytes) == body)
    #expect(decoded.undone == nil)
  }

  /// Made with zstd 1.5.4 (`-19 --check`, `--no-check`), brotli 1.0.9 and Python 3.11 (with a file name and a time in the header; level 1).
  @Test(arguments: [
    (
      "28b52ffd046855010034027b226576656e74223a226465706c6f79222c226e6f7465223a22636166c3a92c20227d010011579e81024349",
      "zstd"
    ),
    (
      "28b52ffd005855010034027b226576656e74223a226465706c6f79222c226e6f7465223a22636166c3a92c20227d010011579e",
      "zstd"
    ),
    ("0f17807b226576656e74223a226465706c6f79222c226e6f7465223a22636166c3a92c20636166c3a92c20636166c3a9227d03", "br"),
    (
      "1f8b080800105e5f02ff742e6a736f6e00ab564a2d4bcd2b51b2524a492dc8c9af54d251cacb2f4905f29313d30eafd45140a6946a015e0b"
        + "9f5b2f000000", "gzip"
    ),
    ("7801ab564a2d4bcd2b51b2524a492dc8c9af54d251cacb2f4905f29313d30eafd45140a6946a018b8f1168", "zlib"),
  ])
  func `what other programs made is decoded`(hex: String, format: String) throws {
    let digits = hex.utf8.compactMap { Character(UnicodeScalar($0)).hexDigitValue }
    let body = stride(from: 0, to: digits.count, by: 2).map { UInt8(digits[$0] << 4 | digits[$0 + 1]) }
    let decoded = try decode(body, label: format)
    #expect(String(decoding: decoded.bytes, as: UTF8.self) == #"{"event":"deploy","note":"café, café, café"}"#)
    #expect(decoded.undone == format)
  }

  @Test(arguments: ["gzip", "deflate", nil, "", "zstd"])
  func `what isn't compressed by its first bytes is stored as it is, whatever its label says`(label: String?) throws {
    var bodies: [[UInt8]] = [[], [0x1F], [0x78], [0x1F, 0x8C, 1], [0x78, 0x9D, 1], Self.text, Array("x=1&y=2".utf8)]
    bodies += [[0x28, 0xB5, 0x2F], [0x28, 0xB5, 0x2F, 0xFC, 0, 1, 2], Array("P*M".utf8)]
    bodies.append(try Compression.raw(Self.text))
    // No frame of these holds anything; decoded they would be nothing.
    let skippable = Compression.zstdSkippable(Self.text, number: 9)
    bodies += [skippable, skippable + skippable, Array(skippable.dropLast()), Array(skippable.prefix(6))]
    for body in bodies {
      let decoded = try decode(body, label: label)
      #expect(Array(decoded.bytes) == body)
      #expect(decoded.undone == nil)
    }
  }

  @Test func `text that is labelled br and isn't brotli is stored as it is`() throws {
    let texts = [
      "", "a", "{\"a\":1}", "[1,2,3]", ";", ";;", "x^2 + y^2", "caf\u{E9}", "name=value", "<xml/>", "null\n",
      "P*M\u{18}",
    ]
    for text in texts + [String(decoding: Self.text, as: UTF8.self)] {
      let decoded = try decode(Array(text.utf8), label: "br")
      // The one text that *is* brotli: an empty stream is written so.
      #expect(Array(decoded.bytes) == (text == ";" ? [] : Array(text.utf8)), "\(text)")
    }
  }

  @Test func `what is labelled br, isn't text and doesn't decode to its end is undecodable, with the reason`() throws {
    let brotli = try Compression.brotli(Self.text)
    let noise: [UInt8] = [0xFF, 0xFE, 0xFD, 0xFC, 0xFB, 0xFA, 0xF9, 0xF8]
    let bodies: [([UInt8], String)] = [
      (Array(brotli.dropLast()), "its end is missing"), (brotli + noise, "8 bytes come after its end"),
      (brotli + brotli, "\(brotli.count) bytes come after its end"), (noise, "as brotli: it is corrupt"),
      // It begins like something else, and is tried as both.
      (try Compression.gzip(Self.text).dropLast(), "as gzip: its end is missing; as brotli"),
    ]
    for (body, word) in bodies {
      let error = #expect(throws: UndecodableBody.self) { try decode(body, label: "br") }
      #expect(error?.description.contains(word) == true, "\(error as Any) lacks \(word)")
    }
  }

  @Test func `brotli that begins like another format is decoded as brotli`() throws {
    // By RFC 7932: window of 64 KiB, not the last block, six nibbles of length less one (7, C, 9, 0, 0, 1), stored; then the bytes;
    // then an empty last block. The first two bytes are a zlib header.
    let contents = (0..<0x10_09C8).map { UInt8(truncatingIfNeeded: $0 &* 151) }
    let decoded = try decode([0x78, 0x9C, 0x00, 0x11] + contents + [0x03], label: "br", limit: 2 << 20)
    #expect(Array(decoded.bytes) == contents)
    #expect(decoded.undone == "br")
  }

  /// Streams that begin well and end badly, with the word that says how.
  private static func broken() throws -> [(body: [UInt8], word: String)] {
    let gzip = try Compression.gzip(text)
    let zlib = try Compression.zlib(text)
    var flipped = gzip
    flipped[gzip.count - 6] ^= 1
    var corrupt = zlib
    corrupt[zlib.count / 2] ^= 0xFF
    let zstd = try Compression.zstd(text)
    let skippable = Compression.zstdSkippable([1, 2, 3])
    var checksum = zstd
    checksum[zstd.count - 1] ^= 1
    var reserved = zstd
    reserved[4] |= 8
    return [
      (Array(gzip.dropLast()), "its end is missing"), (Array(gzip.prefix(12)), "its end is missing"),
      ([0x1F, 0x8B], "its end is missing"), ([0x78, 0x9C], "its end is missing"), (flipped, "incorrect data check"),
      (corrupt, "corrupt"), (gzip + [0], "1 bytes come after its end"), (gzip + text, "come after its end"),
      (zlib + zlib, "\(zlib.count) bytes come after its end"), (Array("x^2 + y^2".utf8), "corrupt"),
      ([0x1F, 0x8B, 0xFF, 0xFF, 0xFF] + text, "corrupt"), (gzip + gzip.dropLast(3), "its end is missing"),
      (Array(zstd.dropLast()), "its end is missing"), (Array(zstd.prefix(4)), "its end is missing"),
      (zstd + [0], "1 bytes come after its end"), (zstd + text, "come after its end"),
      (zstd + zstd.prefix(3), "its end is missing"), (zstd + skippable.dropLast(), "its end is missing"),
      (skippable + zstd.dropLast(), "its end is missing"), (checksum, "checksum"), (reserved, "corrupt"),
      // Announces 100,000 bytes and has one block, which is empty.
      ([0x28, 0xB5, 0x2F, 0xFD, 0xA0, 0xA0, 0x86, 1, 0, 1, 0, 0], "announces 100000 bytes and holds 0"),
      // Compressed with a dictionary that nobody has here.
      ([0x28, 0xB5, 0x2F, 0xFD, 0x21, 5, 7, 1, 0, 0], "Dictionary"),
    ]
  }

  @Test(arguments: ["gzip", "deflate", "zstd"])
  func `what is labelled compressed, begins like it and can't be undone is undecodable, with the reason`(
    label: String
  ) throws {
    for (body, word) in try Self.broken() {
      let error = #expect(throws: UndecodableBody.self) { try decode(body, label: label) }
      #expect(error?.description.contains(word) == true, "\(error as Any) lacks \(word)")
    }
  }

  @Test(arguments: [nil, "", "identity", "snappy"])
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

  @Test func `a zstd body of several frames is decoded as one, without those that are to be skipped`() throws {
    let parts = [Self.text, [], [1, 2, 3], Self.text]
    let body = try parts.enumerated().flatMap { number, part in
      try Compression.zstdSkippable(Self.text, number: UInt8(number * 5))
        + Compression.zstd(part, checksum: number % 2 == 0)
    }
    for body in [body, body + Compression.zstdSkippable([])] {
      for label in ["zstd", nil] {
        #expect(Array(try decode(body, label: label).bytes) == parts.flatMap(\.self))
      }
    }
  }

  @Test(arguments: Compression.Format.allCases)
  func `no more than the limit comes out of a body, and exactly the limit may`(format: Compression.Format) throws {
    let limit = 200_000
    let exact = [UInt8](repeating: 7, count: limit)
    let label = format.rawValue
    #expect(Array(try decode(format.compress(exact), label: label, limit: limit).bytes) == exact)
    let bomb = try format.compress(exact + [7])
    let error = #expect(throws: UndecodableBody.self) { try decode(bomb, label: label, limit: limit) }
    #expect(error?.description.contains("more than \(limit) bytes") == true)
    #expect(Array(try decode(bomb, label: nil, limit: limit).bytes) == bomb)
    guard [.gzip, .zstd].contains(format) else { return }
    // Many members or frames, each below the limit.
    let many = try (0..<10).flatMap { _ in try format.compress(exact.prefix(limit / 4)) }
    #expect(throws: UndecodableBody.self) { try decode(many, label: label, limit: limit) }
  }

  @Test(arguments: [Compression.Format.gzip, .zlib, .zstd])
  func `a bomb is undecodable where it is labelled, and somebody's file where it isn't`(
    format: Compression.Format
  ) throws {
    let bomb = try format.compress([UInt8](repeating: 0, count: 1 << 20), times: 100)
    let error = #expect(throws: UndecodableBody.self) {
      try BodyDecoding().decode(Envelope(header: header(label: "gzip"), payload: bomb[...]))
    }
    #expect(error?.description.contains("bytes decompress to more than") == true, "\(error as Any)")
    #expect(try BodyDecoding().decode(Envelope(header: header(label: nil), payload: bomb[...])).bytes == bomb[...])
  }

  @Test(arguments: [Compression.Format.gzip, .zlib, .zstd])
  func `a payload that is a compressed file by its type stays one, unless its label says that it is wrapped`(
    format: Compression.Format
  ) throws {
    let type = "application/\(format.rawValue)"
    let file = try format.compress(Self.text)
    #expect(Array(try decode(file, label: nil, type: "\(type); a=b").bytes) == file)
    #expect(Array(try decode(file, label: "gzip", type: type).bytes) == Self.text)
    #expect(Array(try decode(format.compress(file), label: "gzip", type: type).bytes) == file)
    #expect(Array(try decode(Compression.brotli(file), label: "br", type: type).bytes) == file)
  }

  @Test func `random bytes are stored as they are, also when they begin like something compressed`() throws {
    var generator = SeededGenerator.announced()
    let beginnings: [[UInt8]] = [
      [], [0x1F, 0x8B], [0x1F, 0x8B, 8, 0], [0x78, 0x9C], [0x78, 0x01], [0x28, 0xB5, 0x2F, 0xFD],
      // Add a checksum. Without it about one in ten thousand bodies would be a valid frame by chance.
      [0x28, 0xB5, 0x2F, 0xFD, 4], [0x5A, 0x2A, 0x4D, 0x18], Compression.zstdSkippable([1, 2, 3]),
    ]
    for _ in 0..<1_000 {
      var body = (0..<Int.random(in: 0...400, using: &generator)).map { _ in
        UInt8.random(in: 0...255, using: &generator)
      }
      body.insert(contentsOf: beginnings.randomElement(using: &generator) ?? [], at: 0)
      if body.starts(with: [0x28, 0xB5, 0x2F, 0xFD]), body.count > 4 { body[4] |= 4 }
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
