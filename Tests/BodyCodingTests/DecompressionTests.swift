import CBrotli
import CZlib
import CZstd
import CompressionFixture
import RedisFixture
import Testing

import BodyCoding

/// The loop itself, against each library's own decoder in one call.
struct DecompressionTests {
  private static let bounds = DecodedBounds(bytes: 1 << 20, ratio: 1_000_000)

  /// What the library makes of a body at once; nil where it makes nothing of it.
  private func atOnce(_ body: [UInt8], _ format: CompressionFormat) -> [UInt8]? {
    var worked = false
    let output = [UInt8](unsafeUninitializedCapacity: Self.bounds.bytes) { room, count in
      switch format {
      case .gzip: break
      case .zlib:
        var (size, used) = (UInt(room.count), UInt(body.count))
        worked = uncompress2(room.baseAddress, &size, body, &used) == Z_OK && used == body.count
        count = worked ? Int(size) : 0
      case .zstd:
        let size = ZSTD_decompress(room.baseAddress, room.count, body, body.count)
        worked = ZSTD_isError(size) == 0
        count = worked ? size : 0
      case .brotli:
        var size = room.count
        worked = BrotliDecoderDecompress(body.count, body, &size, room.baseAddress) == BROTLI_DECODER_RESULT_SUCCESS
        count = worked ? size : 0
      }
    }
    return worked ? output : nil
  }

  /// Text and noise by turns, so that streams have blocks of all kinds.
  private func plain(_ generator: inout SeededGenerator) -> [UInt8] {
    (0..<Int.random(in: 0...8, using: &generator)).flatMap { _ in
      let length = Int.random(in: 0...20_000, using: &generator)
      switch Int.random(in: 0...2, using: &generator) {
      case 0: return (0..<length).map { _ in UInt8.random(in: 0...255, using: &generator) }
      case 1: return [UInt8](repeating: UInt8.random(in: 0...255, using: &generator), count: length)
      default: return Array(String(repeating: "the quick brown fox; ", count: length / 21).utf8)
      }
    }
  }

  @Test func `what each library's encoder made at any setting is what comes out, whatever the room is`() throws {
    var generator = SeededGenerator.announced()
    for _ in 0..<10 {
      let bytes = plain(&generator)
      let bodies: [(CompressionFormat, [UInt8])] = [
        (.gzip, try Compression.gzip(bytes)),
        (.zlib, try Compression.zlib(bytes, level: .random(in: 0...9, using: &generator))),
        (
          .zstd,
          try Compression.zstd(
            bytes, level: .random(in: -5...12, using: &generator), checksum: .random(using: &generator),
            window: .random(in: 10...23, using: &generator), isSized: .random(using: &generator))
        ),
        (
          .brotli,
          try Compression.brotli(
            bytes, quality: .random(in: 0...7, using: &generator), window: .random(in: 10...24, using: &generator))
        ),
      ]
      for (format, body) in bodies {
        for room in [1, 1 + Int.random(in: 0...2_000, using: &generator), 64 << 10] {
          let decoded = try Decompression.decode(body, as: format, within: Self.bounds, room: room)
          #expect(decoded == bytes, "\(format), room of \(room)")
        }
      }
    }
  }

  @Test(arguments: CompressionFormat.allCases)
  func `a body that was damaged ends as the library says itself, and never as part of the contents`(
    format: CompressionFormat
  ) throws {
    var generator = SeededGenerator.announced()
    let contents = Array(String(repeating: "{\"event\":\"deploy\",\"n\":17}\n", count: 40).utf8)
    let whole = try #require(Compression.Format(rawValue: format.rawValue)).compress(contents)
    for _ in 0..<400 {
      var body = whole
      switch Int.random(in: 0...2, using: &generator) {
      case 0: body.removeLast(.random(in: 1..<body.count, using: &generator))
      case 1:
        body += (0...Int.random(in: 0...9, using: &generator)).map { _ in .random(in: 0...255, using: &generator) }
      default: body[.random(in: 0..<body.count, using: &generator)] ^= .random(in: 1...255, using: &generator)
      }
      guard format == .brotli || CompressionFormat(firstBytesOf: body) == format else { continue }
      do throws(Decompression.Failure) {
        let decoded = try Decompression.decode(body, as: format, within: Self.bounds)
        // gzip's header has fields that no checksum covers, and brotli has no checksum at all.
        if format == .gzip || format == .zlib || format == .zstd { #expect(decoded == contents) }
        if format != .gzip { #expect(atOnce(body, format) == decoded) }
      } catch {
        // Brotli's call has no word for what is left over.
        if format == .brotli, case .trailing = error { continue }
        #expect(atOnce(body, format) == nil, "\(error)")
      }
    }
  }

  @Test(arguments: [CompressionFormat.gzip, .zlib, .zstd, .brotli])
  func `every beginning of a body is known to be cut off`(format: CompressionFormat) throws {
    let whole = try #require(Compression.Format(rawValue: format.rawValue)).compress(
      Array("sluice, sluice, sluice".utf8))
    for length in 0..<whole.count {
      #expect(throws: Decompression.Failure.truncated, "of \(whole.count) bytes the first \(length)") {
        try Decompression.decode(Array(whole[..<length]), as: format, within: Self.bounds)
      }
    }
  }

  @Test(arguments: CompressionFormat.allCases)
  func `what comes after the end is counted`(format: CompressionFormat) throws {
    let whole = try #require(Compression.Format(rawValue: format.rawValue)).compress([1, 2, 3])
    for rest: [UInt8] in [
      [0], [0, 0, 0, 0], Array("rest".utf8), [0x1F, 0x8C], [0x28, 0xB5, 0x2F, 0xFE], [0x50, 0x2A, 0],
    ] {
      #expect(throws: Decompression.Failure.trailing(bytes: rest.count), "\(rest)") {
        try Decompression.decode(whole + rest, as: format, within: Self.bounds)
      }
    }
  }

  @Test(arguments: CompressionFormat.allCases)
  func `the pieces are no larger than the room, none is empty, and together they are the whole`(
    format: CompressionFormat
  ) throws {
    var generator = SeededGenerator.announced()
    for contents in [plain(&generator) + [1], []] {
      let body = try #require(Compression.Format(rawValue: format.rawValue)).compress(contents)
      for room in [1, Int.random(in: 2...2_000, using: &generator), 64 << 10] {
        var taken: [UInt8] = []
        var sizes = Set<Int>()
        try Decompression.pieces(of: body.span.bytes, as: format, within: Self.bounds, room: room) { piece in
          piece.withUnsafeBytes { taken += $0 }
          sizes.insert(piece.byteCount)
          return .more
        }
        #expect(taken == contents)
        #expect(sizes.allSatisfy { 1...room ~= $0 }, "room of \(room), pieces of \(sizes)")
      }
    }
  }

  @Test(arguments: CompressionFormat.allCases)
  func `whoever takes pieces can stop, and then nothing more is decoded`(format: CompressionFormat) throws {
    var generator = SeededGenerator.announced()
    // Noise in several blocks, of which the first are out before the last is looked at.
    let contents = (0..<1_000_000).map { _ in UInt8(truncatingIfNeeded: generator.next()) }
    let body = try #require(Compression.Format(rawValue: format.rawValue)).compress(contents)
    // Its end is missing. Only a caller that reads all of it gets that error.
    for body in [body, Array(body.dropLast())] {
      var taken = 0
      try Decompression.pieces(of: body.span.bytes, as: format, within: Self.bounds, room: 100) { _ in
        taken += 1
        return taken < 3 ? .more : .enough
      }
      #expect(taken == 3)
    }
  }

  @Test(arguments: CompressionFormat.allCases)
  func `of a body that is too large exactly as much is taken as the bounds allow`(format: CompressionFormat) throws {
    let contents = [UInt8](repeating: 7, count: 10_000)
    let body = try #require(Compression.Format(rawValue: format.rawValue)).compress(contents)
    for (limit, room) in [(0, 1), (0, 64), (1, 1), (999, 1_000), (1_000, 1_000), (1_001, 1_000), (9_999, 64 << 10)] {
      var taken = 0
      do throws(Decompression.Failure) {
        let bounds = DecodedBounds(bytes: limit, ratio: 1_000_000)
        try Decompression.pieces(of: body.span.bytes, as: format, within: bounds, room: room) { piece in
          taken += piece.byteCount
          return .more
        }
        Issue.record("\(contents.count) bytes passed a limit of \(limit)")
      } catch {
        #expect(error == .tooLarge(limit: limit))
      }
      #expect(taken == limit)
    }
  }
}
