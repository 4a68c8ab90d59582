// Redis's replies, as values.
//
// An error reply is a value like any other: the server understood the command and refused it, and the connection stays
// usable. It is deliberately not a Swift error. If it were mixed with the errors of a broken connection, a failed read
// could be taken for an absent key. The typed readers at the end are the only way from a reply to a plain value. Each
// of them throws for any other type than its own: an error or a null never becomes an empty string, a zero or an empty
// list.

/// One reply of Redis, in the types of RESP2.
public enum RedisReply: Sendable {
  /// A short text of the server, such as `OK`.
  case status(String)
  /// A value, byte for byte.
  case bulk([UInt8])
  case integer(Int64)
  /// At most eight levels deep, within the reader's limits on elements and bytes.
  case array([RedisReply])
  /// An array of many short strings only. ``array()`` reads it as well.
  case strings(RedisStrings)
  /// The server's null: a missing key or field, or an empty blocking read.
  case null
  /// The server refused the command. It had no effect, unless its documentation says otherwise.
  case error(RedisServerError)
}

extension RedisReply: Equatable {
  /// An array's two representations are equal.
  public static func == (left: RedisReply, right: RedisReply) -> Bool {
    switch (left, right) {
    case (.status(let left), .status(let right)): left == right
    case (.bulk(let left), .bulk(let right)): left == right
    case (.integer(let left), .integer(let right)): left == right
    case (.array(let left), .array(let right)): left == right
    case (.strings(let left), .strings(let right)): left == right
    case (.array(let items), .strings(let strings)), (.strings(let strings), .array(let items)):
      items == strings.replies
    case (.null, .null): true
    case (.error(let left), .error(let right)): left == right
    default: false
    }
  }
}

/// An error reply: the code that begins it, and its text.
public struct RedisServerError: Error, Sendable, Equatable, CustomStringConvertible {
  /// The first word, in capitals by convention: `ERR`, `NOSCRIPT`, `OOM`, …. If the text doesn't begin with such a
  /// word, also `ERR`.
  public let code: String
  /// The whole text as the server sent it, code included.
  public let message: String

  public init(message: String) {
    self.message = message
    let word = message.prefix { $0 != " " }
    let isCode = !word.isEmpty && word.allSatisfy { $0.isASCII && ($0.isUppercase || $0.isNumber) }
    self.code = isCode ? String(word) : "ERR"
  }

  public var description: String { "Redis answered: \(message)" }

  /// The script isn't in the server's cache; nothing was run.
  public var isNoScript: Bool { code == "NOSCRIPT" }
  /// The server is up but can't serve now (loading its data set, at its memory limit, not the primary, cut off from
  /// its replicas or its cluster, busy with a script): the same command may succeed later.
  public var isPassing: Bool {
    switch code {
    case "LOADING", "OOM", "READONLY", "MASTERDOWN", "NOREPLICAS", "BUSY", "MISCONF", "MOVED", "ASK", "TRYAGAIN",
      "CLUSTERDOWN":
      true
    default: false
    }
  }
}

/// A reply has another type than its reader needs.
public struct UnexpectedReply: Error, Sendable, Equatable, CustomStringConvertible {
  /// The expected type, as text: "an integer".
  public let expected: String
  /// The actual type, as text, without the contents (which may be secret): "an array of 3".
  public let came: String

  public init(expected: String, came: String) {
    self.expected = expected
    self.came = came
  }

  public var description: String { "expected \(expected) from Redis, got \(came)" }
}

extension RedisReply {
  /// The reply's type as text, without its contents.
  public var shape: String {
    switch self {
    case .status(let text): "the status \(text)"
    case .bulk(let bytes): "a string of \(bytes.count) bytes"
    case .integer(let number): "the integer \(number)"
    case .array(let items): "an array of \(items.count)"
    case .strings(let strings): "an array of \(strings.count)"
    case .null: "null"
    case .error(let error): "the error \"\(error.message)\""
    }
  }

  private func mismatch(_ expected: String) -> any Error {
    if case .error(let error) = self { return error }
    return UnexpectedReply(expected: expected, came: shape)
  }

  /// - Throws: ``RedisServerError`` for an error reply, ``UnexpectedReply`` for any other type.
  public func integer() throws -> Int64 {
    if case .integer(let number) = self { return number }
    throw mismatch("an integer")
  }

  /// - Throws: ``RedisServerError`` for an error reply, ``UnexpectedReply`` for any other type.
  public func bytes() throws -> [UInt8] {
    if case .bulk(let bytes) = self { return bytes }
    throw mismatch("a string")
  }

  /// The bytes, or nil if the reply is null.
  /// - Throws: ``RedisServerError`` for an error reply, ``UnexpectedReply`` for any other type.
  public func bytesOrNull() throws -> [UInt8]? {
    switch self {
    case .bulk(let bytes): return bytes
    case .null: return nil
    default: throw mismatch("a string or null")
    }
  }

  /// - Throws: ``RedisServerError`` for an error reply, ``UnexpectedReply`` for any other type or text that isn't
  ///   UTF-8.
  public func string() throws -> String {
    guard let text = String(validating: try bytes(), as: UTF8.self) else {
      throw UnexpectedReply(expected: "UTF-8 text", came: "\(shape) that isn't UTF-8")
    }
    return text
  }

  /// The text, or nil if the reply is null.
  /// - Throws: ``RedisServerError`` for an error reply, ``UnexpectedReply`` for any other type.
  public func stringOrNull() throws -> String? {
    if case .null = self { return nil }
    return try string()
  }

  /// - Throws: ``RedisServerError`` for an error reply, ``UnexpectedReply`` for any other type.
  public func array() throws -> [RedisReply] {
    switch self {
    case .array(let items): return items
    case .strings(let strings): return strings.replies
    default: throw mismatch("an array")
    }
  }

  /// The items, or nil if the reply is null.
  /// - Throws: ``RedisServerError`` for an error reply, ``UnexpectedReply`` for any other type.
  public func arrayOrNull() throws -> [RedisReply]? {
    if case .null = self { return nil }
    return try array()
  }

  /// - Throws: ``RedisServerError`` for an error reply, ``UnexpectedReply`` for anything but the status `OK`.
  public func ok() throws {
    if case .status("OK") = self { return }
    throw mismatch("the status OK")
  }

  /// The reply itself, unless it is an error.
  /// - Throws: ``RedisServerError`` for an error reply.
  public func orThrow() throws -> RedisReply {
    if case .error(let error) = self { throw error }
    return self
  }
}
