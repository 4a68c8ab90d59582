// Writes texts as JSON strings. Rejected: JSONEncoder, which takes some tens of microseconds, more than all other work
// of a node for a request.

internal import Bytes
package import NIOCore

/// Writes texts as JSON strings. If the text is UTF-8, only quotes, backslashes and control characters need escapes.
enum JSONText {
  /// The maximum length of a text of this number of bytes, with its quotes.
  static func longest(_ count: Int) -> Int { 2 + 6 * count }

  /// Whether the text needs no escaping: printable ASCII without quotes and backslashes.
  static func isPlain(_ text: UnsafeRawBufferPointer) -> Bool {
    // Eight bytes at a time. The subtraction may borrow from the byte above and mark that byte wrongly, but only if the
    // byte below is marked correctly. The position of a mark doesn't matter here.
    var marks: UInt64 = 0
    var place = 0
    while place &+ 8 <= text.count {
      let word = text.loadUnaligned(fromByteOffset: place, as: UInt64.self)
      marks |= word | (word &- 0x2020_2020_2020_2020)
      let (quote, backslash) = (word ^ 0x2222_2222_2222_2222, word ^ 0x5C5C_5C5C_5C5C_5C5C)
      marks |= (quote &- 0x0101_0101_0101_0101) | (backslash &- 0x0101_0101_0101_0101)
      place &+= 8
    }
    var isPlain = marks & 0x8080_8080_8080_8080 == 0
    while place < text.count {
      if text[place] >= 0x80 || mustBeEscaped(text[place]) { isPlain = false }
      place &+= 1
    }
    return isPlain
  }

  /// The length of a text with its escapes and quotes.
  static func size(_ text: UnsafeRawBufferPointer) -> Int {
    var size = text.count + 2
    for byte in text where mustBeEscaped(byte) { size += isShort(byte) ? 1 : 5 }
    return size
  }

  /// Whether its escape has two characters instead of six.
  private static func isShort(_ byte: UInt8) -> Bool {
    switch byte {
    case UInt8(ascii: "\""), UInt8(ascii: "\\"), UInt8(ascii: "\n"), UInt8(ascii: "\r"), UInt8(ascii: "\t"): true
    default: false
    }
  }

  /// Appends a text with its quotes. Invalid UTF-8 is replaced by U+FFFD.
  static func append(_ text: UnsafeRawBufferPointer, to json: inout [UInt8]) {
    json.append(UInt8(ascii: "\""))
    if isPlain(text) { json.append(contentsOf: text) } else { appendRepaired(text, to: &json) }
    json.append(UInt8(ascii: "\""))
  }

  /// Appends a text with its quotes.
  static func append(_ text: String, to json: inout [UInt8]) {
    var text = text
    text.withUTF8 { append(UnsafeRawBufferPointer($0), to: &json) }
  }

  /// Replaces the same bytes as `String(decoding:as:)`, but many times faster: any client can send a head full of
  /// invalid bytes.
  private static func appendRepaired(_ text: UnsafeRawBufferPointer, to json: inout [UInt8]) {
    var place = 0
    while place < text.count {
      let byte = text[place]
      if byte < 0x80 {
        if mustBeEscaped(byte) { appendEscaped(byte, to: &json) } else { json.append(byte) }
        place &+= 1
        continue
      }
      let (length, isScalar) = sequence(at: place, of: text)
      if isScalar {
        for offset in place..<place &+ length { json.append(text[offset]) }
      } else {
        json.append(0xEF)
        json.append(0xBF)
        json.append(0xBD)
      }
      place &+= length
    }
  }

  /// The length of one non-ASCII scalar, or of bytes that are replaced together: the beginning of an incomplete scalar
  /// (Unicode's "maximal subpart"), or one byte that begins no scalar.
  private static func sequence(at place: Int, of text: UnsafeRawBufferPointer) -> (length: Int, isScalar: Bool) {
    let length: Int
    // After some first bytes only some second bytes are valid: others would make a scalar too large, a surrogate, or an
    // overlong form.
    var next: ClosedRange<UInt8> = 0x80...0xBF
    switch text[place] {
    case 0xC2...0xDF: length = 2
    case 0xE0: (length, next) = (3, 0xA0...0xBF)
    case 0xED: (length, next) = (3, 0x80...0x9F)
    case 0xE1...0xEF: length = 3
    case 0xF0: (length, next) = (4, 0x90...0xBF)
    case 0xF1...0xF3: length = 4
    case 0xF4: (length, next) = (4, 0x80...0x8F)
    default: return (1, false)
    }
    for offset in 1..<length {
      guard place &+ offset < text.count, next.contains(text[place &+ offset]) else { return (offset, false) }
      next = 0x80...0xBF
    }
    return (length, true)
  }

  private static func mustBeEscaped(_ byte: UInt8) -> Bool {
    byte < 0x20 || byte == UInt8(ascii: "\"") || byte == UInt8(ascii: "\\")
  }

  private static func appendEscaped(_ byte: UInt8, to json: inout [UInt8]) {
    json.append(UInt8(ascii: "\\"))
    switch byte {
    case UInt8(ascii: "\""), UInt8(ascii: "\\"): json.append(byte)
    case UInt8(ascii: "\n"): json.append(UInt8(ascii: "n"))
    case UInt8(ascii: "\r"): json.append(UInt8(ascii: "r"))
    case UInt8(ascii: "\t"): json.append(UInt8(ascii: "t"))
    default:
      json.append(contentsOf: [UInt8(ascii: "u"), UInt8(ascii: "0"), UInt8(ascii: "0")])
      json.append(HexDigits.ascii(halfByte: byte >> 4))
      json.append(HexDigits.ascii(halfByte: byte & 0xF))
    }
  }
}

extension RawBufferWriter {
  /// Writes a text as a JSON string with its quotes.
  mutating func write(text: UnsafeRawBufferPointer) {
    guard JSONText.isPlain(text) else {
      var json: [UInt8] = []
      JSONText.append(text, to: &json)
      return json.withUnsafeBytes { write($0) }
    }
    write("\"")
    write(text)
    write("\"")
  }
}

extension ByteBuffer {
  /// Appends a text as a JSON string with its quotes.
  package mutating func writeJSON(_ text: String) {
    var text = text
    let isPlain = text.withUTF8 { JSONText.isPlain(UnsafeRawBufferPointer($0)) }
    if isPlain {
      writeStaticString("\"")
      writeString(text)
      writeStaticString("\"")
    } else {
      var json: [UInt8] = []
      json.reserveCapacity(text.withUTF8 { JSONText.size(UnsafeRawBufferPointer($0)) })
      JSONText.append(text, to: &json)
      writeBytes(json)
    }
  }

  /// The number of bytes that ``writeJSON(_:)`` appends.
  package static func jsonSize(_ text: String) -> Int {
    var text = text
    return text.withUTF8 { JSONText.size(UnsafeRawBufferPointer($0)) }
  }

  /// Appends a number in decimal digits.
  package mutating func writeDecimal(_ number: Int64) {
    DecimalDigits.with(number) { _ = writeBytes($0) }
  }
}
