import BodyCoding
import CompressionFixture
import RedisFixture
import Testing

/// A gigabyte of zeros in each format, and what else makes much of little.
struct DecompressionBombTests {
  private static let zeros = [UInt8](repeating: 0, count: 1 << 20)
  /// Wide enough that a test's other bound is the one that is met.
  private static let wide = DecodedBounds(bytes: 512 << 20, ratio: 1_000_000)

  private func decode(
    _ body: [UInt8], _ format: CompressionFormat, _ bounds: DecodedBounds = wide
  ) throws(Decompression.Failure) -> [UInt8] {
    try Decompression.decode(body, as: format, within: bounds)
  }

  private func compress(_ bytes: [UInt8], _ format: CompressionFormat, times: Int = 1) throws -> [UInt8] {
    try #require(Compression.Format(rawValue: format.rawValue)).compress(bytes, times: times)
  }

  /// Fails where the body does more work than a bound on it lets it do, with room for a machine that is busy.
  @discardableResult private func soon<Value>(_ body: () throws -> Value) throws -> Value {
    let begun = ContinuousClock.now
    let value = try body()
    #expect(ContinuousClock.now - begun < .seconds(5))
    return value
  }

  @Test(arguments: CompressionFormat.allCases)
  func `a gigabyte of zeros is stopped at the limit, or earlier by the ratio`(format: CompressionFormat) throws {
    // The encoder is a true one: what it makes of 3 MiB decodes to them.
    let decoded = try decode(compress(Self.zeros, format, times: 3), format)
    #expect(decoded.count == 3 << 20 && decoded.allSatisfy { $0 == 0 })

    let bomb = try compress(Self.zeros, format, times: 1_024)
    #expect(bomb.count < 2 << 20)
    try soon {
      #expect(throws: Decompression.Failure.tooLarge(limit: 8 << 20)) {
        try decode(bomb, format, DecodedBounds(bytes: 8 << 20, ratio: 1_000_000))
      }
    }
    let allowed = max(1 << 20, bomb.count * 200)
    try soon {
      #expect(throws: Decompression.Failure.tooDense(ratio: 200, encoded: bomb.count, allowed: allowed)) {
        try decode(bomb, format, DecodedBounds(bytes: 512 << 20, ratio: 200))
      }
    }
  }

  @Test(arguments: CompressionFormat.allCases)
  func `a body may be as dense as the ratio allows, and no denser`(format: CompressionFormat) throws {
    var generator = SeededGenerator.announced()
    let noise = (0..<200_000).map { _ in UInt8(truncatingIfNeeded: generator.next()) }
    let body = try compress(noise + Self.zeros + Self.zeros, format)
    let plain = noise.count + 2 * Self.zeros.count
    let ratio = plain / body.count
    #expect(ratio >= 5)
    let allowed = max(1 << 20, body.count * ratio)
    #expect(throws: Decompression.Failure.tooDense(ratio: ratio, encoded: body.count, allowed: allowed)) {
      try decode(body, format, DecodedBounds(bytes: 512 << 20, ratio: ratio))
    }
    #expect(try decode(body, format, DecodedBounds(bytes: 512 << 20, ratio: ratio + 1)).count == plain)
  }

  @Test(arguments: CompressionFormat.allCases)
  func `a small body may hold a mebibyte, however well it is compressed`(format: CompressionFormat) throws {
    let bounds = DecodedBounds(bytes: 512 << 20, ratio: 1)
    #expect(try decode(compress(Self.zeros, format), format, bounds).count == 1 << 20)
    let more = try compress(Self.zeros + [0], format)
    #expect(throws: Decompression.Failure.tooDense(ratio: 1, encoded: more.count, allowed: 1 << 20)) {
      try decode(more, format, bounds)
    }
  }

  @Test(arguments: CompressionFormat.allCases)
  func `bounds without an end bound nothing`(format: CompressionFormat) throws {
    let bounds = DecodedBounds(bytes: .max, ratio: .max)
    #expect(try decode(compress(Self.zeros, format, times: 2), format, bounds).count == 2 << 20)
  }

  @Test func `a zstd frame that asks for a window of more than eight mebibytes is refused it`() throws {
    // Twice the zeros, so that the encoder doesn't know at its beginning that less would do.
    let granted = try Compression.zstd(Self.zeros, window: 23, times: 2)
    #expect(try decode(granted, .zstd).count == 2 << 20)
    for window: Int32 in [24, 27, 30] {
      let body = try Compression.zstd(Self.zeros, window: window, times: 2)
      let error = #expect(throws: Decompression.Failure.self) { try decode(body, .zstd) }
      #expect(error?.description.contains("a window of") == true, "\(error as Any)")
    }
  }

  /// 256 times the same byte, with a window of 176 MiB. If there is room for all of it, the library needs no window.
  @Test(arguments: [1, 2, 255, 256, 1 << 17])
  func `a small zstd frame that asks for a large window is refused whatever room there is`(room: Int) {
    let body: [UInt8] = [0x28, 0xB5, 0x2F, 0xFD, 0x40, 0x8B, 0x00, 0x00, 0x03, 0x08, 0x00, 0x59]
    #expect(
      throws: Decompression.Failure.corrupt("a frame asks for a window of 184549376 bytes, more than 8388608")
    ) {
      try Decompression.decode(
        body.span.bytes, as: .zstd, within: DecodedBounds(bytes: 1 << 20, ratio: 1_000), room: room)
    }
  }

  @Test func `a brotli body with the extension of large windows is refused`() throws {
    let granted = try Compression.brotli(Self.zeros, window: 24)
    #expect(try decode(granted, .brotli).count == 1 << 20)
    let body = try Compression.brotli(Self.zeros, window: 28, isLarge: true)
    let error = #expect(throws: Decompression.Failure.self) { try decode(body, .brotli) }
    guard case .corrupt = error else {
      Issue.record("\(error as Any)")
      return
    }
  }

  @Test(arguments: [CompressionFormat.gzip, .zstd])
  func `a megabyte of empty streams one after another takes no long time`(format: CompressionFormat) throws {
    let empty = try compress([], format)
    let body = Array(repeatElement(empty, count: (1 << 20) / empty.count).joined())
    #expect(try soon { try decode(body, format).isEmpty })
  }

  @Test func `a megabyte of empty skippable frames takes no long time`() throws {
    let frames = Array(repeatElement(Compression.zstdSkippable([]), count: (1 << 20) / 8).joined())
    #expect(try soon { CompressionFormat(firstBytesOf: frames) == nil })
    let body = try frames + Compression.zstd([1, 2, 3]) + frames
    #expect(try soon { CompressionFormat(firstBytesOf: body) == .zstd })
    #expect(try soon { try decode(body, .zstd) == [1, 2, 3] })
  }
}
