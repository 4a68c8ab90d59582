import IngestQueue
import IngestWorker
import RedisFixture
import Testing

/// A gigabyte of zeros in each format, and what else makes much of little.
struct DecompressionBombTests {
  private static let zeros = [UInt8](repeating: 0, count: 1 << 20)

  private func decode(_ bytes: [UInt8], label: String?, _ decoding: BodyDecoding) throws -> DecodedBody {
    var header = EnvelopeHeader.numbered(0)
    header.contentEncoding = label
    return try decoding.decode(Envelope(header: header, payload: bytes[...]))
  }

  /// Fails where the body does more work than a bound on it lets it do, with room for a machine that is busy.
  private func soon<Value>(_ body: () throws -> Value) throws -> Value {
    let begun = ContinuousClock.now
    let value = try body()
    #expect(ContinuousClock.now - begun < .seconds(5))
    return value
  }

  @Test(arguments: Compression.Format.allCases)
  func `a gigabyte of zeros is stopped at the limit, or earlier by the ratio`(format: Compression.Format) throws {
    // The encoder is a true one: what it makes of 3 MiB decodes to them.
    let small = try format.compress(Self.zeros, times: 3)
    let decoded = try decode(small, label: format.rawValue, BodyDecoding(ratio: 1_000_000))
    #expect(decoded.bytes.count == 3 << 20 && decoded.bytes.allSatisfy { $0 == 0 })

    let bomb = try format.compress(Self.zeros, times: 1_024)
    #expect(bomb.count < 2 << 20)
    let byLimit = try soon {
      #expect(throws: UndecodableBody.self) {
        try decode(bomb, label: format.rawValue, BodyDecoding(limit: 8 << 20, ratio: 1_000_000))
      }
    }
    #expect(byLimit?.description.contains("more than 8388608 bytes come out of it") == true, "\(byLimit as Any)")
    let byRatio = try soon {
      #expect(throws: UndecodableBody.self) {
        try decode(bomb, label: format.rawValue, BodyDecoding(limit: 512 << 20, ratio: 200))
      }
    }
    let allowed = max(1 << 20, bomb.count * 200)
    #expect(
      byRatio?.description.contains("more than \(allowed) bytes come out of its \(bomb.count)") == true,
      "\(byRatio as Any)")
    // What nobody called compressed is somebody's file.
    if format != .br { #expect(try soon { Array(try decode(bomb, label: nil, BodyDecoding()).bytes) == bomb }) }
  }

  @Test(arguments: Compression.Format.allCases)
  func `a body may be as dense as the ratio allows, and no denser`(format: Compression.Format) throws {
    var generator = SeededGenerator.announced()
    let noise = (0..<200_000).map { _ in UInt8(truncatingIfNeeded: generator.next()) }
    let body = try format.compress(noise + Self.zeros + Self.zeros)
    let plain = noise.count + 2 * Self.zeros.count
    let ratio = plain / body.count
    #expect(ratio >= 5)
    #expect(throws: UndecodableBody.self) { try decode(body, label: format.rawValue, BodyDecoding(ratio: ratio)) }
    #expect(try decode(body, label: format.rawValue, BodyDecoding(ratio: ratio + 1)).bytes.count == plain)
  }

  @Test(arguments: Compression.Format.allCases)
  func `a small body may hold a mebibyte, however well it is compressed`(format: Compression.Format) throws {
    let decoding = BodyDecoding(ratio: 1)
    let body = try format.compress(Self.zeros)
    #expect(try decode(body, label: format.rawValue, decoding).bytes.count == 1 << 20)
    let more = try format.compress(Self.zeros + [0])
    #expect(throws: UndecodableBody.self) { try decode(more, label: format.rawValue, decoding) }
  }

  @Test func `a zstd frame that asks for a window of more than eight mebibytes is refused it`() throws {
    // Twice the zeros, so that the encoder doesn't know at its beginning that less would do.
    let granted = try Compression.zstd(Self.zeros, window: 23, times: 2)
    #expect(try decode(granted, label: "zstd", BodyDecoding(ratio: 1_000_000)).bytes.count == 2 << 20)
    for window: Int32 in [24, 27, 30] {
      let body = try Compression.zstd(Self.zeros, window: window, times: 2)
      let error = #expect(throws: UndecodableBody.self) { try decode(body, label: "zstd", BodyDecoding()) }
      #expect(error?.description.contains("too much memory") == true, "\(error as Any)")
    }
  }

  @Test func `a brotli body with the extension of large windows is refused`() throws {
    let granted = try Compression.brotli(Self.zeros, window: 24)
    #expect(try decode(granted, label: "br", BodyDecoding()).bytes.count == 1 << 20)
    let body = try Compression.brotli(Self.zeros, window: 28, isLarge: true)
    #expect(throws: UndecodableBody.self) { try decode(body, label: "br", BodyDecoding()) }
  }

  @Test(arguments: [Compression.Format.gzip, .zstd])
  func `a megabyte of empty streams one after another takes no long time`(format: Compression.Format) throws {
    let empty = try format.compress([])
    let body = Array(repeatElement(empty, count: (1 << 20) / empty.count).joined())
    #expect(try soon { try decode(body, label: format.rawValue, BodyDecoding()).bytes.isEmpty })
  }

  @Test func `a megabyte of empty skippable frames takes no long time`() throws {
    let frames = Array(repeatElement(Compression.zstdSkippable([]), count: (1 << 20) / 8).joined())
    #expect(try soon { Array(try decode(frames, label: "zstd", BodyDecoding()).bytes) == frames })
    let body = try frames + Compression.zstd([1, 2, 3]) + frames
    #expect(try soon { Array(try decode(body, label: "zstd", BodyDecoding()).bytes) == [1, 2, 3] })
  }
}
