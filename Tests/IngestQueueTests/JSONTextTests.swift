// Text without special characters is copied unchanged. The code finds them eight bytes at a time; the tests compare the
// result with one byte at a time.

import Foundation
import RedisFixture
import Testing

@testable import IngestQueue

@Suite struct JSONTextTests {
  private func isPlain(_ bytes: [UInt8]) -> Bool { bytes.withUnsafeBytes { JSONText.isPlain($0) } }

  @Test func `every byte at every place is plain or isn't`() {
    for length in 1...19 {
      for place in 0..<length {
        for byte in UInt8.min...UInt8.max {
          var text = [UInt8](repeating: 0x61, count: length)
          text[place] = byte
          let right = byte >= 0x20 && byte < 0x80 && byte != UInt8(ascii: "\"") && byte != UInt8(ascii: "\\")
          if isPlain(text) != right { Issue.record("byte \(byte) at \(place) of \(length)") }
        }
      }
    }
    #expect(isPlain([]))
  }

  @Test func `neighbours don't matter`() {
    let plain = (UInt8(0x20)..<0x80).filter { $0 != UInt8(ascii: "\"") && $0 != UInt8(ascii: "\\") }
    for first in plain {
      for second in plain {
        if !isPlain([first, second, first, second, first, second, first, second]) {
          Issue.record("\(first) beside \(second)")
        }
      }
    }
  }

  @Test func `what isn't UTF-8 is replaced as the standard library does it`() throws {
    var generator = SeededGenerator.announced()
    // Bytes that begin, continue and break scalars at each of their limits.
    let edges: [UInt8] = [
      0x00, 0x22, 0x41, 0x5C, 0x7F, 0x80, 0x8F, 0x90, 0x9F, 0xA0, 0xBF, 0xC0, 0xC1, 0xC2, 0xDF, 0xE0, 0xE1, 0xEC, 0xED,
      0xEE, 0xEF, 0xF0, 0xF1, 0xF3, 0xF4, 0xF5, 0xFF,
    ]
    for round in 0..<20_000 {
      let length = Int.random(in: 0...9, using: &generator)
      let text = (0..<length).map { _ in
        round.isMultiple(of: 2)
          ? edges.randomElement(using: &generator) ?? 0 : UInt8.random(in: 0...UInt8.max, using: &generator)
      }
      var json: [UInt8] = []
      text.withUnsafeBytes { JSONText.append($0, to: &json) }
      let read = try JSONDecoder().decode(String.self, from: Data(json))
      if Array(read.utf8) != Array(String(decoding: text, as: UTF8.self).utf8) { Issue.record("\(text)") }
    }
  }

  @Test(arguments: ["", "a", "application/json", "a\"b", "back\\slash", "tab\tand\u{0}", "Grüße, 世界", "\u{7F}"])
  func `what is written is read back`(_ text: String) throws {
    var json: [UInt8] = []
    Array(text.utf8).withUnsafeBytes { JSONText.append($0, to: &json) }
    #expect(try JSONDecoder().decode(String.self, from: Data(json)) == text)
  }
}
