import BodyCoding
import CompressionFixture
import RedisFixture
import Testing

/// Counting through the decoder; what is counted has tests of its own.
struct EventCountTests {
  /// Every compression, and none.
  private static let compressions: [CompressionFormat?] = CompressionFormat.allCases + [nil]

  private static func compress(_ bytes: [UInt8], _ format: CompressionFormat?, times: Int = 1) throws -> [UInt8] {
    guard let format else { return Array(repeatElement(bytes, count: times).joined()) }
    return try #require(Compression.Format(rawValue: format.rawValue)).compress(bytes, times: times)
  }

  /// An array of this number of elements, each of which is nil.
  private static func messagePack(_ count: Int, isWide: Bool = false) -> [UInt8] {
    let bytes = (0..<4).reversed().map { UInt8(truncatingIfNeeded: count >> (8 * $0)) }
    let header =
      isWide || count > 65_535
      ? [0xDD] + bytes : count > 15 ? [0xDC] + bytes.suffix(2) : [0x90 | UInt8(count)]
    return header + [UInt8](repeating: 0xC0, count: count)
  }

  /// Fails where more is decoded than has to be, with room for a machine that is busy.
  @discardableResult private func soon<Value>(_ body: () throws -> Value) throws -> Value {
    let begun = ContinuousClock.now
    let value = try body()
    #expect(ContinuousClock.now - begun < .seconds(5))
    return value
  }

  @Test(arguments: compressions)
  func `random batches are counted in both formats, whatever they are compressed in and the room is`(
    compression: CompressionFormat?
  ) throws {
    var generator = SeededGenerator.announced()
    for _ in 0..<40 {
      let array = RandomArray(using: &generator, elements: 0...60)
      let json = try Self.compress(array.json, compression)
      for room in [1, Int.random(in: 2...200, using: &generator), 64 << 10] {
        #expect(
          try EventCount.count(in: json, .json, compression, room: room) == array.count, "room of \(room): \(array)")
      }
      let count = Int.random(in: 0...10_000, using: &generator)
      let messagePack = try Self.compress(Self.messagePack(count, isWide: .random(using: &generator)), compression)
      #expect(try EventCount.count(in: messagePack, .msgpack, compression) == count)
    }
  }

  @Test(arguments: compressions)
  func `a batch of the wrong format is refused, and the error says what came`(compression: CompressionFormat?) throws {
    let (json, messagePack) = (Array("[1,2]".utf8), Self.messagePack(2))
    let bodies: [(plain: [UInt8], format: EventCount.Format, words: String)] = [
      (json, .msgpack, "expected a msgpack array at byte 0, got '['"),
      (messagePack, .json, "expected an array at byte 0, got the byte 0x92"),
      ([], .json, "expected an array at byte 0, got the end"),
      ([], .msgpack, "expected a msgpack array at byte 0, got the end"),
      ([0xDC, 0], .msgpack, "expected the rest of a msgpack array's length at byte 2, got the end"),
      (Array("[1 ,\n2\t3]".utf8), .json, "expected ',' or ']' at byte 7, got '3'"),
      (Array("[1,\u{07}]".utf8), .json, "expected a value at byte 3, got the byte 0x07"),
      (Array("[1,2,3]".utf8), .json, "there are more than 2 events"),
      (Self.messagePack(3), .msgpack, "there are more than 2 events"),
      (Array(repeating: 0x5B, count: 70), .json, "at byte 64 the nesting is deeper than 64 levels"),
    ]
    for (plain, format, words) in bodies {
      let body = try Self.compress(plain, compression)
      let error = #expect(throws: EventCount.Failure.self) {
        try EventCount.count(in: body, format, compression, limit: 2)
      }
      #expect(error?.description == words)
    }
  }

  @Test func `a msgpack array can't announce more than there are bytes for`() throws {
    for count in [1, 16, 10_000] {
      let body = Self.messagePack(count)
      #expect(try EventCount.count(in: body, .msgpack) == count)
      let error = EventCount.Failure.tooShort(announced: count, bytes: count - 1)
      #expect(throws: error) { try EventCount.count(in: body.dropLast(), .msgpack) }
      #expect(error.description == "the array announces \(count) events, but at most \(count - 1) bytes follow")
    }
    // Where it is compressed the bounds say how many bytes there can be.
    let body = try Compression.zstd(Self.messagePack(10_000))
    #expect(throws: EventCount.Failure.tooShort(announced: 10_000, bytes: 4_997)) {
      try EventCount.count(in: body, .msgpack, .zstd, within: DecodedBounds(bytes: 5_000, ratio: 1_000_000))
    }
  }

  @Test(arguments: CompressionFormat.allCases)
  func `JSON whose compression can't be undone to its end is refused, although the array has ended`(
    format: CompressionFormat
  ) throws {
    let body = try Self.compress(Array("[1,2,3]".utf8), format)
    #expect(try EventCount.count(in: body, .json, format) == 3)
    for length in 0..<body.count {
      let error = #expect(throws: EventCount.Failure.self) {
        try EventCount.count(in: Array(body.prefix(length)), .json, format)
      }
      #expect(error == .undecodable(.truncated), "the first \(length) of \(body.count)")
    }
    let trailed = #expect(throws: EventCount.Failure.undecodable(.trailing(bytes: 2))) {
      try EventCount.count(in: body + [0, 0], .json, format)
    }
    #expect(trailed?.description == "the body can't be decoded: 2 bytes come after its end")
  }

  @Test(arguments: CompressionFormat.allCases)
  func `of msgpack no more is decoded than its header`(format: CompressionFormat) throws {
    var generator = SeededGenerator.announced()
    // Noise, so that there is something to decode far behind the header.
    let noise = (0..<300_000).map { _ in UInt8(truncatingIfNeeded: generator.next()) }
    var body = try Self.compress(Self.messagePack(100, isWide: true) + noise, format)
    #expect(try EventCount.count(in: body, .msgpack, format) == 100)
    for place in body.indices.suffix(1_000) { body[place] ^= 0xFF }
    #expect(throws: Decompression.Failure.self, "else the damage shows nothing") {
      try Decompression.decode(body, as: format, within: DecodedBounds(bytes: 1 << 20, ratio: 1_000))
    }
    #expect(try EventCount.count(in: body, .msgpack, format) == 100)
    let damaged = #expect(throws: EventCount.Failure.self) { try EventCount.count(in: body, .json, format) }
    #expect(damaged == .unexpected(0xDD, at: 0, expected: .array), "nor is more decoded than what isn't JSON")
  }

  @Test(arguments: CompressionFormat.allCases)
  func `a bomb is stopped by the bounds, or by the number of its events`(format: CompressionFormat) throws {
    let spaces = try Self.compress(Array("[".utf8) + [UInt8](repeating: 0x20, count: 1 << 20), format, times: 1)
    #expect(throws: EventCount.Failure.unexpected(nil, at: 1 + 1 << 20, expected: .valueOrEnd)) {
      try EventCount.count(in: spaces, .json, format)
    }
    let blank = try Self.compress([UInt8](repeating: 0x20, count: 1 << 20), format, times: 64)
    try soon {
      #expect(throws: EventCount.Failure.undecodable(.tooLarge(limit: 1 << 20))) {
        try EventCount.count(in: blank, .json, format, within: DecodedBounds(bytes: 1 << 20, ratio: 1_000_000))
      }
    }
    let allowed = max(1 << 20, blank.count * 2)
    try soon {
      #expect(
        throws: EventCount.Failure.undecodable(.tooDense(ratio: 2, encoded: blank.count, allowed: allowed))
      ) {
        try EventCount.count(in: blank, .json, format, within: DecodedBounds(bytes: 512 << 20, ratio: 2))
      }
    }
    let ones = try Self.compress([0x5B] + Array(repeatElement([0x31, 0x2C], count: 1 << 20).joined()), format)
    try soon {
      #expect(throws: EventCount.Failure.tooMany(limit: 10_000)) { try EventCount.count(in: ones, .json, format) }
    }
    let deep = try Self.compress([UInt8](repeating: 0x5B, count: 1 << 20), format, times: 4)
    try soon {
      #expect(throws: EventCount.Failure.tooDeep(limit: 64, at: 64)) { try EventCount.count(in: deep, .json, format) }
    }
  }

  @Test func `what is wrong within the bounds is said before that more comes than they allow`() throws {
    let body = try Compression.gzip(Array("[1;".utf8) + [UInt8](repeating: 0x20, count: 100))
    for room in [1, 3, 50, 1_000] {
      let bounds = DecodedBounds(bytes: 3, ratio: 1)
      #expect(throws: EventCount.Failure.unexpected(0x3B, at: 2, expected: .commaOrEnd)) {
        try EventCount.count(in: body, .json, .gzip, within: bounds, room: room)
      }
      #expect(throws: EventCount.Failure.undecodable(.tooLarge(limit: 2))) {
        try EventCount.count(in: body, .json, .gzip, within: DecodedBounds(bytes: 2, ratio: 1), room: room)
      }
    }
  }

  @Test func `random bytes have an outcome, and one within the limits`() throws {
    var generator = SeededGenerator.announced()
    let beginnings: [[UInt8]] = [
      [], Array("[".utf8), Array("[{\"".utf8), [0xDC], [0xDD, 0, 0], [0x9F], [0x1F, 0x8B, 8, 0], [0x78, 0x9C],
      [0x28, 0xB5, 0x2F, 0xFD], [0x5A, 0x2A, 0x4D, 0x18],
    ]
    var refusals = 0
    for _ in 0..<2_000 {
      let noise = (0..<Int.random(in: 0...100, using: &generator)).map { _ in
        UInt8.random(in: 0...255, using: &generator)
      }
      let body = (beginnings.randomElement(using: &generator) ?? []) + noise
      for format in EventCount.Format.allCases {
        for compression in Self.compressions {
          do throws(EventCount.Failure) {
            let count = try EventCount.count(in: body, format, compression, limit: 50)
            #expect(0...50 ~= count)
          } catch {
            refusals += 1
            #expect(!error.description.isEmpty)
          }
        }
      }
    }
    #expect(refusals > 10_000, "random bytes are no batches")
  }
}
