import RedisFixture
import Testing

@testable import BodyCoding

struct MessagePackArrayHeaderTests {
  typealias Outcome = Result<Int, EventCount.Failure>

  private func outcome(_ body: [UInt8], inPiecesOf size: Int = 100, limit: Int = 1 << 32, bytes: Int = 1 << 40)
    -> Outcome
  {
    var header = MessagePackArrayHeader(limit: limit, bytes: bytes)
    var rest = body[...]
    while !rest.isEmpty {
      let piece = rest.prefix(size)
      rest = rest.dropFirst(piece.count)
      if header.read(piece.span.bytes) == .enough { break }
    }
    do throws(EventCount.Failure) { return .success(try header.count()) } catch { return .failure(error) }
  }

  /// By msgpack's specification, "array format family".
  @Test(
    arguments: [
      ([0x90], 0), ([0x91], 1), ([0x9F], 15), ([0xDC, 0, 0], 0), ([0xDC, 0, 16], 16), ([0xDC, 1, 2], 258),
      ([0xDC, 0xFF, 0xFF], 65_535), ([0xDD, 0, 0, 0, 0], 0), ([0xDD, 0, 1, 0, 0], 65_536),
      ([0xDD, 1, 2, 3, 4], 16_909_060), ([0xDD, 0xFF, 0xFF, 0xFF, 0xFF], 4_294_967_295),
    ] as [([UInt8], Int)])
  func `each of the three headers says its number, however it is cut`(header: [UInt8], count: Int) {
    for rest: [UInt8] in [[], [0x93, 0xDC], [UInt8](repeating: 0xC0, count: 20)] {
      for size in [1, 2, 3, 100] { #expect(outcome(header + rest, inPiecesOf: size) == .success(count)) }
    }
  }

  @Test func `a beginning that is none of an array's is refused, whatever it is`() {
    for byte in UInt8.min...UInt8.max where !(0x90...0x9F ~= byte || byte == 0xDC || byte == 0xDD) {
      #expect(outcome([byte, 0, 0, 0, 0]) == .failure(.unexpected(byte, at: 0, expected: .messagePackArray)))
    }
  }

  @Test func `a header that is cut off is refused`() {
    #expect(outcome([]) == .failure(.unexpected(nil, at: 0, expected: .messagePackArray)))
    for header: [UInt8] in [[0xDC, 0, 1], [0xDD, 0, 0, 0, 1]] {
      for length in 1..<header.count {
        let failure = EventCount.Failure.unexpected(nil, at: length, expected: .messagePackLength)
        for size in [1, 100] { #expect(outcome(Array(header.prefix(length)), inPiecesOf: size) == .failure(failure)) }
      }
    }
  }

  @Test func `more than the limit is refused, and so is more than there can be bytes for`() {
    #expect(outcome([0xDC, 0, 20], limit: 20) == .success(20))
    #expect(outcome([0xDC, 0, 21], limit: 20) == .failure(.tooMany(limit: 20)))
    #expect(outcome([0x93], bytes: 4) == .success(3))
    #expect(outcome([0x93], bytes: 3) == .failure(.tooShort(announced: 3, bytes: 2)))
    #expect(outcome([0xDD, 0, 0, 0, 9], bytes: 14) == .success(9))
    #expect(outcome([0xDD, 0, 0, 0, 9], bytes: 13) == .failure(.tooShort(announced: 9, bytes: 8)))
  }
}
