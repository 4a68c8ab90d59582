// A text that stands for itself is written as it is, and that is found out eight bytes at a time: held against one at a time.

import Foundation
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

  @Test(arguments: ["", "a", "application/json", "a\"b", "back\\slash", "tab\tand\u{0}", "Grüße, 世界", "\u{7F}"])
  func `what is written is read back`(_ text: String) throws {
    var json: [UInt8] = []
    Array(text.utf8).withUnsafeBytes { JSONText.append($0, to: &json) }
    #expect(try JSONDecoder().decode(String.self, from: Data(json)) == text)
  }
}
