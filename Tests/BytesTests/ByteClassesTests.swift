// The code compares eight bytes at a time. The tests compare its results with one byte at a time, for every byte at
// every position.

import Bytes
import Testing

@Suite struct ByteClassesTests {
  /// Of every length up to two times eight and some more.
  private static let words: [StaticString] = [
    "", "a", "te", "dsn", "host", "accept", "x-token", "location", "websocket", "keep-alive", "traceparent",
    "content-type", "authorization", "idempotency-key", "content-encoding", "transfer-encoding",
    "sec-websocket-key{}", "x-a_b~c@d[e]f^g`h",
  ]

  private func lowercased(_ byte: UInt8) -> UInt8 { (0x41...0x5A).contains(byte) ? byte + 32 : byte }

  @Test(arguments: words.indices)
  func `a word is found in any case, and nothing else is taken for it`(_ index: Int) {
    let word = Self.words[index]
    let expected = word.withUTF8Buffer { Array($0) }
    // What stands around it doesn't count.
    let (before, after) = (Array("!?".utf8), Array("aaaaaaaaa".utf8))
    func look(_ bytes: [UInt8]) -> (matches: Bool, equals: Bool) {
      let all = before + bytes + after
      let range = before.count..<before.count + bytes.count
      return (all.span.bytes.matches(word, at: range), all.span.bytes.equals(word, at: range))
    }
    #expect(look(expected) == (true, true))
    #expect(look(expected + [0x61]) == (false, false))
    for place in expected.indices {
      #expect(look(Array(expected.dropLast())) == (false, false))
      for byte in UInt8.min...UInt8.max {
        var bytes = expected
        bytes[place] = byte
        let found = look(bytes)
        let right = (bytes.map(lowercased) == expected, bytes == expected)
        if found != right { Issue.record("byte \(byte) at \(place): \(found) instead of \(right)") }
      }
    }
  }
}
