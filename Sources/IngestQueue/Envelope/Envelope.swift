// An element of the queue: the line of JSON, parsed, and the payload, unchanged.
//
// The line is read by a parser of our own for flat objects. A worker reads one per payload, and a general decoder would
// take longer than claiming, storing and acknowledging the payload together. It is strict about the parts that it needs
// (the ID and its position, the types of the fields, JSON's grammar) and skips everything else: fields that a newer
// node added are ignored, so that an old worker doesn't turn the payloads of a new node into dead letters.

internal import Bytes

/// A payload and its header.
public struct Envelope: Sendable, Equatable {
  public var header: EnvelopeHeader
  /// The request's body, byte for byte.
  public var payload: ArraySlice<UInt8>

  public init(header: EnvelopeHeader, payload: ArraySlice<UInt8>) {
    self.header = header
    self.payload = payload
  }

  /// Reads an element of the queue.
  /// - Throws: ``InvalidEnvelope``, with the expected and the actual content, without the payload.
  public init(_ bytes: [UInt8]) throws(InvalidEnvelope) {
    guard let lineEnd = bytes.prefix(EnvelopeHeader.longestLine).firstIndex(of: UInt8(ascii: "\n")) else {
      throw InvalidEnvelope(
        "expected a line of JSON of at most \(EnvelopeHeader.longestLine) bytes, but no newline came in "
          + "\(min(bytes.count, EnvelopeHeader.longestLine)) bytes")
    }
    var parser = EnvelopeLineParser(bytes, end: lineEnd)
    header = try parser.header()
    payload = bytes[(lineEnd + 1)...]
  }
}

/// Something in the queue isn't an envelope.
public struct InvalidEnvelope: Error, Sendable, Equatable, CustomStringConvertible {
  public let description: String

  init(_ why: String) { description = "not an envelope: \(why)" }
}

extension String {
  /// Decodes a string of JSON.
  /// - Parameter json: With its quotes. Nil if it isn't a string; callers don't need the reason.
  package init?(json: [UInt8]) {
    var parser = EnvelopeLineParser(json, end: json.count)
    guard let text = try? parser.string() else { return nil }
    self = text
  }
}

/// Reads the line before the payload.
private struct EnvelopeLineParser {
  private let bytes: [UInt8]
  private let end: Int
  private var place = 0

  /// Maximum depth of arrays and objects in unknown fields.
  private static let deepest = 16

  init(_ bytes: [UInt8], end: Int) {
    self.bytes = bytes
    self.end = end
  }

  mutating func header() throws(InvalidEnvelope) -> EnvelopeHeader {
    let id = try leadingID()
    var account: String?
    var key: String?
    var receivedAt: Int64?
    var contentType: String?
    var contentEncoding: String?
    var path: String?
    var node: String?
    var traceparent: String?
    while try another() {
      let field = try string()
      try expect(UInt8(ascii: ":"), "after the name of a field")
      switch field {
      case "account": try set(&account, field, string())
      case "key": try set(&key, field, string())
      case "received_at": try set(&receivedAt, field, integer(of: field))
      case "content_type": try set(&contentType, field, string())
      case "content_encoding": try set(&contentEncoding, field, string())
      case "path": try set(&path, field, string())
      case "node": try set(&node, field, string())
      case "traceparent": try set(&traceparent, field, string())
      case "id": throw InvalidEnvelope("the field id occurs twice")
      default: try skipValue(depth: 0)
      }
    }
    skipSpace()
    guard place == end else { throw InvalidEnvelope("expected the line's end after the object, at byte \(place)") }
    guard let account else { throw Self.missing("account") }
    guard let key else { throw Self.missing("key") }
    guard let receivedAt else { throw Self.missing("received_at") }
    guard let path else { throw Self.missing("path") }
    guard let node else { throw Self.missing("node") }
    return EnvelopeHeader(
      id: id, account: account, key: key, receivedAt: receivedAt, contentType: contentType,
      contentEncoding: contentEncoding, path: path, node: node, traceparent: traceparent)
  }

  private static func missing(_ field: String) -> InvalidEnvelope { InvalidEnvelope("the field \(field) isn't there") }

  private func set<Value>(_ field: inout Value?, _ name: String, _ value: Value) throws(InvalidEnvelope) {
    guard field == nil else { throw InvalidEnvelope("the field \(name) occurs twice") }
    field = value
  }

  /// `{"id":"` and the id, in exactly this spelling: the scripts in Redis cut the id out by its position.
  private mutating func leadingID() throws(InvalidEnvelope) -> EnvelopeID {
    let opening = Array(#"{"id":""#.utf8)
    let closing = opening.count + EnvelopeID.textLength
    guard end > closing, bytes.starts(with: opening), bytes[closing] == UInt8(ascii: "\""),
      let id = EnvelopeID(bytes[opening.count..<closing])
    else { throw InvalidEnvelope(#"expected {"id":" and a UUID at its very beginning"#) }
    place = closing + 1
    return id
  }

  /// Moves to the next field, or behind the object's end.
  private mutating func another() throws(InvalidEnvelope) -> Bool {
    skipSpace()
    switch next() {
    case UInt8(ascii: ","): return true
    case UInt8(ascii: "}"): return false
    default: throw InvalidEnvelope("expected , or } at byte \(place - 1)")
    }
  }

  private mutating func next() -> UInt8? {
    defer { place += 1 }
    return place < end ? bytes[place] : nil
  }

  private mutating func skipSpace() {
    while place < end, [0x20, 0x09, 0x0D].contains(bytes[place]) { place += 1 }
  }

  private mutating func expect(_ byte: UInt8, _ when: String) throws(InvalidEnvelope) {
    skipSpace()
    guard next() == byte else {
      throw InvalidEnvelope("expected \(Character(UnicodeScalar(byte))) \(when), at byte \(place - 1)")
    }
  }

  private mutating func integer(of field: String) throws(InvalidEnvelope) -> Int64 {
    skipSpace()
    let start = place
    while place < end, bytes[place] == UInt8(ascii: "-") || (0x30...0x39).contains(bytes[place]) { place += 1 }
    guard let number = Int64(String(decoding: bytes[start..<place], as: UTF8.self)) else {
      throw InvalidEnvelope("expected a whole number in \(field), at byte \(start)")
    }
    return number
  }

  fileprivate mutating func string() throws(InvalidEnvelope) -> String {
    try expect(UInt8(ascii: "\""), "before a text")
    let start = place
    var unescaped: [UInt8]?
    while let byte = next() {
      switch byte {
      case UInt8(ascii: "\""):
        let text =
          unescaped.map { String(validating: $0, as: UTF8.self) }
          ?? String(validating: bytes[start..<(place - 1)], as: UTF8.self)
        guard let text else { throw InvalidEnvelope("expected UTF-8 in the text at byte \(start)") }
        return text
      case UInt8(ascii: "\\"):
        if unescaped == nil { unescaped = Array(bytes[start..<(place - 1)]) }
        unescaped?.append(contentsOf: try escape())
      case 0..<0x20:
        throw InvalidEnvelope("a control character in a text must be escaped, at byte \(place - 1)")
      default:
        unescaped?.append(byte)
      }
    }
    throw InvalidEnvelope("the text at byte \(start) isn't closed")
  }

  /// Decodes an escape to UTF-8. Its backslash has been read.
  private mutating func escape() throws(InvalidEnvelope) -> [UInt8] {
    let start = place - 1
    switch next() {
    case UInt8(ascii: "\""): return [0x22]
    case UInt8(ascii: "\\"): return [0x5C]
    case UInt8(ascii: "/"): return [0x2F]
    case UInt8(ascii: "b"): return [0x08]
    case UInt8(ascii: "f"): return [0x0C]
    case UInt8(ascii: "n"): return [0x0A]
    case UInt8(ascii: "r"): return [0x0D]
    case UInt8(ascii: "t"): return [0x09]
    case UInt8(ascii: "u"): break
    default: throw InvalidEnvelope("an unknown escape at byte \(start)")
    }
    var scalar = try fourHexDigits()
    if (0xD800..<0xDC00).contains(scalar) {
      guard next() == UInt8(ascii: "\\"), next() == UInt8(ascii: "u") else {
        throw InvalidEnvelope("half a surrogate pair at byte \(start)")
      }
      let low = try fourHexDigits()
      guard (0xDC00..<0xE000).contains(low) else { throw InvalidEnvelope("half a surrogate pair at byte \(start)") }
      scalar = 0x10000 + (scalar - 0xD800) << 10 + (low - 0xDC00)
    }
    guard let scalar = Unicode.Scalar(scalar) else { throw InvalidEnvelope("half a surrogate pair at byte \(start)") }
    return Array(String(Character(scalar)).utf8)
  }

  private mutating func fourHexDigits() throws(InvalidEnvelope) -> UInt32 {
    var value: UInt32 = 0
    for _ in 0..<4 {
      guard let digit = next()?.hexadecimal else {
        throw InvalidEnvelope("expected four hexadecimal digits after \\u, at byte \(place - 1)")
      }
      value = value << 4 | UInt32(digit)
    }
    return value
  }

  /// Skips the value of an unknown field.
  private mutating func skipValue(depth: Int) throws(InvalidEnvelope) {
    guard depth < Self.deepest else { throw InvalidEnvelope("a field is nested deeper than \(Self.deepest)") }
    skipSpace()
    guard place < end else { throw InvalidEnvelope("expected a value at byte \(place)") }
    switch bytes[place] {
    case UInt8(ascii: "\""): _ = try string()
    case UInt8(ascii: "{"):
      try skipItems(until: UInt8(ascii: "}"), depth: depth) { parser throws(InvalidEnvelope) in
        _ = try parser.string()
        try parser.expect(UInt8(ascii: ":"), "after the name of a field")
      }
    case UInt8(ascii: "["):
      try skipItems(until: UInt8(ascii: "]"), depth: depth) { _ throws(InvalidEnvelope) in }
    default:
      let start = place
      while place < end, ![0x2C, 0x7D, 0x5D, 0x20, 0x09, 0x0D].contains(bytes[place]) { place += 1 }
      let word = String(decoding: bytes[start..<place], as: UTF8.self)
      guard ["true", "false", "null"].contains(word) || (Double(word)?.isFinite ?? false) else {
        throw InvalidEnvelope("expected a value at byte \(start)")
      }
    }
  }

  private mutating func skipItems(
    until close: UInt8, depth: Int, name: (inout Self) throws(InvalidEnvelope) -> Void
  ) throws(InvalidEnvelope) {
    place += 1
    skipSpace()
    if place < end, bytes[place] == close {
      place += 1
      return
    }
    while true {
      try name(&self)
      try skipValue(depth: depth + 1)
      skipSpace()
      switch next() {
      case UInt8(ascii: ","): continue
      case close: return
      default: throw InvalidEnvelope("expected , or the end of a value at byte \(place - 1)")
      }
    }
  }
}
