// Responses as bytes. The state machine determines how a response must be framed, and the framing is written in front
// of the body here. Parts that are the same each time (status line, fixed fields, body) are formatted once. For each
// request they are only copied, and nothing is allocated.
//
// Values are from configuration, from the store and from clients' IDs, so names and values are checked when they are
// added. A CR or LF in one would let its author append a second response.

internal import Bytes

/// How a response must be framed so that the connection stays in step.
public struct ResponseFraming: Sendable, Equatable {
  public enum Persistence: Sendable, Equatable {
    /// The connection stays open without a header: HTTP/1.1's default.
    case open
    /// The connection stays open, and a header says so: HTTP/1.0 would close it.
    case keepAlive
    /// The connection closes after this response, and must say so.
    case close

    var line: StaticString {
      switch self {
      case .open: ""
      case .keepAlive: "connection: keep-alive\r\n"
      case .close: "connection: close\r\n"
      }
    }
  }

  /// For a connection that ends with this response, whatever the request was.
  public static let last = ResponseFraming(persistence: .close, isForHead: false)

  public let persistence: Persistence
  /// HEAD is answered without the body, and with the length that it would have.
  public let isForHead: Bool
}

/// A field that would break the response that contains it.
public enum InvalidResponseField: Error, Sendable, Equatable, CustomStringConvertible {
  /// The name isn't a token.
  case name(String)
  /// The value has a control character. It isn't shown, because it may be a secret.
  case value(ofField: String)
  /// The field belongs to the framing, which only the writer sets.
  case framing(String)

  public var description: String {
    switch self {
    case .name(let name): "a field's name must be a token, and this isn't one: \(name.debugDescription)"
    case .value(let name): "the value of \(name) has a control character"
    case .framing(let name): "\(name) is set by the HTTP state machine, not by a response"
    }
  }
}

/// Header lines, checked and encoded.
public struct ResponseFields: Sendable, Equatable {
  private(set) var bytes: [UInt8] = []

  public init() {}

  /// Adds a line.
  public mutating func append(_ name: String, _ value: String) throws(InvalidResponseField) {
    var name = name
    var value = value
    let isToken = name.withUTF8 { !$0.isEmpty && $0.allSatisfy(\.isToken) }
    guard isToken else { throw .name(name) }
    guard !Self.isFraming(name) else { throw .framing(name) }
    let isText = value.withUTF8 { $0.allSatisfy(\.isText) }
    guard isText else { throw .value(ofField: name) }
    name.withUTF8 { bytes.append(contentsOf: $0) }
    bytes.append(.colon)
    bytes.append(.space)
    value.withUTF8 { bytes.append(contentsOf: $0) }
    bytes.append(.carriageReturn)
    bytes.append(.lineFeed)
  }

  /// Removes all lines, and keeps the memory for the next ones.
  public mutating func removeAll() { bytes.removeAll(keepingCapacity: true) }

  private static func isFraming(_ name: String) -> Bool {
    switch name.utf8.count {
    case 7: name.lowercased() == "upgrade"
    case 10: name.lowercased() == "connection" || name.lowercased() == "keep-alive"
    case 14: name.lowercased() == "content-length"
    case 17: name.lowercased() == "transfer-encoding"
    default: false
    }
  }
}

/// A response with formatted status, fixed fields and body.
public struct Response: Sendable {
  /// The bytes for ``Step/Action/writeContinue``.
  public static let goOn: [UInt8] = Array("HTTP/1.1 100 Continue\r\n\r\n".utf8)

  public let status: Int
  private let head: [UInt8]
  private let body: [UInt8]

  /// `content-length: `, the digits of an Int, and two line ends.
  private static let longestEnd = 16 + 20 + 4

  /// - Precondition: the status is a final one with a body (which may be empty): 200 to 599, but not 204 and 304.
  public init(status: Int, fields: ResponseFields = ResponseFields(), body: [UInt8] = []) {
    precondition((200..<600).contains(status) && status != 204 && status != 304, "\(status) has no body")
    self.status = status
    // HTTP/1.1 even for a request of version 1.0: it is the server's version (RFC 9110 §6.2).
    head = Array("HTTP/1.1 \(status) \(Self.phrase(status))\r\n".utf8) + fields.bytes
    self.body = body
  }

  /// The default answer to a refused request: the reason as plain text.
  public init(_ refusal: ProtocolError) {
    var fields = ResponseFields()
    do throws(InvalidResponseField) {
      try fields.append("content-type", "text/plain")
    } catch {
      preconditionFailure("\(error)")  // Both texts are constants.
    }
    self.init(status: refusal.status, fields: fields, body: Array("\(refusal.reason)\n".utf8))
  }

  /// An upper limit of the output's length of ``write(_:fields:body:to:)``.
  public func capacity(fields: ResponseFields = ResponseFields(), body: Int? = nil) -> Int {
    head.count + fields.bytes.count + ResponseFraming.Persistence.keepAlive.line.utf8CodeUnitCount + Self.longestEnd
      + (body ?? self.body.count)
  }

  /// Writes the response.
  /// - Parameters:
  ///   - framing: The framing that the state machine returned for this request.
  ///   - fields: Added to the fixed fields.
  ///   - body: Written instead of the fixed body.
  ///   - output: Must have space for ``capacity(fields:body:)`` bytes.
  public func write(
    _ framing: ResponseFraming, fields: ResponseFields = ResponseFields(), body: RawSpan, to output: inout OutputRawSpan
  ) {
    output.append(head.span.bytes)
    output.append(fields.bytes.span.bytes)
    output.append(framing.persistence.line)
    output.append("content-length: ")
    output.append(decimal: body.byteCount)
    output.append("\r\n\r\n")
    if !framing.isForHead { output.append(body) }
  }

  /// Writes the response with its fixed body.
  public func write(
    _ framing: ResponseFraming, fields: ResponseFields = ResponseFields(), to output: inout OutputRawSpan
  ) {
    write(framing, fields: fields, body: body.span.bytes, to: &output)
  }

  /// The reason phrases of the statuses that a node answers. A phrase is for people, and may be empty.
  private static func phrase(_ status: Int) -> String {
    switch status {
    case 200: "OK"
    case 202: "Accepted"
    case 400: "Bad Request"
    case 401: "Unauthorized"
    case 403: "Forbidden"
    case 404: "Not Found"
    case 405: "Method Not Allowed"
    case 408: "Request Timeout"
    case 413: "Content Too Large"
    case 414: "URI Too Long"
    case 417: "Expectation Failed"
    case 429: "Too Many Requests"
    case 431: "Request Header Fields Too Large"
    case 500: "Internal Server Error"
    case 501: "Not Implemented"
    case 503: "Service Unavailable"
    case 504: "Gateway Timeout"
    case 505: "HTTP Version Not Supported"
    default: ""
    }
  }
}

extension OutputRawSpan {
  fileprivate mutating func append(_ bytes: RawSpan) {
    guard bytes.byteCount > 0 else { return }
    withUnsafeMutableBytes { buffer, initialized in
      bytes.withUnsafeBytes { source in
        precondition(source.count <= buffer.count - initialized, "there is no room for the response")
        UnsafeMutableRawBufferPointer(rebasing: buffer[initialized...]).copyMemory(from: source)
        initialized += source.count
      }
    }
  }

  fileprivate mutating func append(_ text: StaticString) {
    for index in 0..<text.utf8CodeUnitCount { append(text.utf8Start[index]) }
  }

  fileprivate mutating func append(decimal number: Int) {
    DecimalDigits.with(Int64(number)) { digits in
      for digit in digits { append(digit) }
    }
  }
}
