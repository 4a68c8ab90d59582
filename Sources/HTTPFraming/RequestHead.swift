// The head of a request: offsets into its bytes, which stay with the caller. Each header line is four 16-bit numbers in
// an array that the connection keeps, so parsing a header allocates nothing and copies nothing. Rejected: a dictionary.
// A node looks up five of ten lines, and comparing lengths first excludes nearly all others.

internal import Bytes

/// The name of a header field, in lower case: `"content-type"`.
public struct FieldName: Sendable, ExpressibleByStringLiteral {
  let word: StaticString

  /// - Precondition: a token in lower case.
  public init(stringLiteral word: StaticString) {
    self.word = word
    assert(
      word.withUTF8Buffer { !$0.isEmpty && $0.allSatisfy { $0.isToken && $0.lowercased == $0 } },
      "a field name is a token in lower case, unlike \(word)")
  }
}

/// A request's head without its bytes. All ranges are offsets from the head's first byte.
public struct RequestHead: Sendable {
  public enum Version: Sendable, Equatable {
    case http10
    case http11
  }

  /// Methods are case-sensitive, and any token may be one.
  public enum Method: Sendable, Equatable {
    case get, head, post, put, delete, options, trace, patch
    case other
  }

  /// One header line.
  struct Field: Sendable {
    var nameStart: UInt16
    var nameEnd: UInt16
    var valueStart: UInt16
    var valueEnd: UInt16
  }

  public internal(set) var version = Version.http11
  public internal(set) var method = Method.other
  /// The method, unchanged.
  public internal(set) var methodName = 0..<0
  /// The target, unchanged.
  public internal(set) var target = 0..<0
  /// The target's path: from its first slash up to the query; `*` if that is the target. Not decoded.
  public internal(set) var path = 0..<0
  /// The part after the question mark; nil without one. Not decoded.
  public internal(set) var query: Range<Int>?
  var fields: [Field] = []

  init() {}

  /// The number of header lines.
  public var fieldCount: Int { fields.count }

  /// The name of a header line, from 0 up to ``fieldCount``.
  public func fieldName(at index: Int) -> Range<Int> { Int(fields[index].nameStart)..<Int(fields[index].nameEnd) }

  /// The value of a header line without blanks around it, from 0 up to ``fieldCount``.
  public func fieldValue(at index: Int) -> Range<Int> { Int(fields[index].valueStart)..<Int(fields[index].valueEnd) }

  /// The value of the first header line of that name; nil if there is none.
  /// - Parameter bytes: The bytes that the head was read from, beginning with the head.
  public func first(_ name: FieldName, in bytes: RawSpan) -> Range<Int>? {
    let length = name.word.utf8CodeUnitCount
    for field in fields where Int(field.nameEnd &- field.nameStart) == length {
      if bytes.matches(name.word, at: Int(field.nameStart)..<Int(field.nameEnd)) {
        return Int(field.valueStart)..<Int(field.valueEnd)
      }
    }
    return nil
  }

  /// The values of all header lines of that name, in their order.
  public func all(_ name: FieldName, in bytes: RawSpan) -> [Range<Int>] {
    fields.filter { bytes.matches(name.word, at: Int($0.nameStart)..<Int($0.nameEnd)) }
      .map { Int($0.valueStart)..<Int($0.valueEnd) }
  }

  mutating func reset() {
    fields.removeAll(keepingCapacity: true)
    query = nil
  }

  mutating func append(name: Range<Int>, value: Range<Int>) {
    // The limits keep a head under 65,536 bytes.
    fields.append(
      Field(
        nameStart: UInt16(name.lowerBound), nameEnd: UInt16(name.upperBound), valueStart: UInt16(value.lowerBound),
        valueEnd: UInt16(value.upperBound)))
  }
}
