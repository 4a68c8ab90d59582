// The head of a request: request line and header. The parser consumes nothing until the head is complete (except one
// empty line before it). When more bytes arrive, it continues where it stopped.
//
// It is a state machine over the parts of a head. Rejected: a search for CRLFCRLF followed by a split. That reads every
// byte twice, and first accepts bytes that a later step must not forget to refuse.

internal import Bytes

struct HeadParser {
  enum Outcome {
    case incomplete
    /// This number of bytes is ignored.
    case skip(Int)
    /// The head is complete and has this number of bytes.
    case complete(Int)
    case refused(ProtocolError)
  }

  private enum Place {
    case start
    case method
    case target
    case version
    case fields
  }

  private var place = Place.start
  private var cursor = 0
  private var skippedLine = false
  private var lines = FieldLines(from: 0, limit: 0, tooLarge: .headerTooLarge)
  private(set) var framing = FramingFields()

  init() {}

  /// The version in the request line, with its line end.
  private static let versionLength = 10

  /// Continues parsing. `bytes` must begin at the same offset of the stream as in the last call, unless that returned
  /// `.skip`.
  mutating func parse(_ bytes: RawSpan, into head: inout RequestHead, within limits: RequestLimits) -> Outcome {
    let end = min(bytes.byteCount, limits.requestLineBytes)
    while true {
      switch place {
      case .start:
        guard bytes.byteCount > 0 else { return .incomplete }
        switch bytes.byte(0) {
        case .carriageReturn:
          // RFC 9112 §2.2 asks servers to accept at least one empty line before a request. Exactly one is accepted.
          guard !skippedLine else { return .refused(.emptyLines) }
          guard bytes.byteCount > 1 else { return .incomplete }
          guard bytes.byte(1) == .lineFeed else { return .refused(.bareCarriageReturn) }
          skippedLine = true
          return .skip(2)
        case .lineFeed: return .refused(.bareLineFeed)
        default:
          head.reset()
          place = .method
        }

      case .method:
        cursor = bytes.firstNonToken(from: cursor, to: end)
        guard cursor < end else { return unfinishedLine(limits) }
        switch bytes.byte(cursor) {
        case .space where cursor > 0: break
        case .lineFeed: return .refused(.bareLineFeed)
        case .space, .carriageReturn: return .refused(.malformedRequestLine)
        default: return .refused(.invalidMethod)
        }
        head.methodName = 0..<cursor
        head.method = RequestHead.Method(head.methodName, in: bytes)
        cursor += 1
        place = .target

      case .target:
        let start = head.methodName.upperBound + 1
        while cursor < end {
          let byte = bytes.byte(cursor)
          if byte <= .space || byte >= 0x7F || byte == UInt8(ascii: "#") { break }
          if byte == UInt8(ascii: "?"), head.query == nil { head.query = cursor + 1..<cursor + 1 }
          cursor += 1
        }
        guard cursor < end else { return unfinishedLine(limits) }
        switch bytes.byte(cursor) {
        case .space where cursor > start: break
        case .lineFeed: return .refused(.bareLineFeed)
        case .space, .carriageReturn: return .refused(.malformedRequestLine)
        default: return .refused(.invalidTarget)
        }
        head.target = start..<cursor
        if let refusal = head.splitTarget(in: bytes) { return .refused(refusal) }
        cursor += 1
        place = .version

      case .version:
        let start = head.target.upperBound + 1
        while cursor < start + Self.versionLength {
          guard cursor < end else { return unfinishedLine(limits) }
          if let refusal = Self.fault(inVersionAt: cursor, from: start, bytes) {
            // The error for an HTTP/2-only client names HTTP/2.
            return .refused(refusal == .unsupportedVersion && head.isPreface(in: bytes) ? .http2Preface : refusal)
          }
          cursor += 1
        }
        if head.isPreface(in: bytes) { return .refused(.unfitTarget) }
        head.version = bytes.byte(start + 7) == UInt8(ascii: "1") ? .http11 : .http10
        lines = FieldLines(from: cursor, limit: limits.headerBytes, tooLarge: .headerTooLarge)
        place = .fields

      case .fields:
        switch lines.next(bytes) {
        case .incomplete: return .incomplete
        case .refused(let refusal): return .refused(refusal)
        case .field(let name, let value):
          guard head.fieldCount < limits.fieldCount else { return .refused(.tooManyFields) }
          head.append(name: name, value: value)
          if let field = FramingField(name, in: bytes), let refusal = framing.add(field, value, in: bytes) {
            return .refused(refusal)
          }
        case .end(let length):
          if let refusal = framing.fault(in: head.version) { return .refused(refusal) }
          return .complete(length)
        }
      }
    }
  }

  /// Whether a request has begun.
  var hasBegun: Bool { place != .start }

  /// Whether the current request's method has been read. Before, `head` has the previous request's.
  var knowsMethod: Bool { place != .start && place != .method }

  /// All bytes were read without the end of the request line, or the limit is reached.
  private func unfinishedLine(_ limits: RequestLimits) -> Outcome {
    cursor >= limits.requestLineBytes ? .refused(.requestLineTooLong) : .incomplete
  }

  /// The error in one byte of `HTTP/1.1` or `HTTP/1.0` and the line end after it, if the bytes before are right.
  private static func fault(inVersionAt cursor: Int, from start: Int, _ bytes: RawSpan) -> ProtocolError? {
    let byte = bytes.byte(cursor)
    let pattern: StaticString = "HTTP/d.d\r\n"
    let expected = pattern.utf8Start[cursor - start]
    switch cursor - start {
    case 5:
      if byte.isDigit { return nil }
    case 7:
      guard byte.isDigit else { break }
      return bytes.byte(start + 5) == UInt8(ascii: "1") && byte <= UInt8(ascii: "1") ? nil : .unsupportedVersion
    default:
      if byte == expected { return nil }
    }
    if byte == .lineFeed { return .bareLineFeed }
    return expected == .lineFeed ? .bareCarriageReturn : .malformedVersion
  }
}

extension RequestHead.Method {
  init(_ name: Range<Int>, in bytes: RawSpan) {
    switch name.count {
    case 3 where bytes.equals("GET", at: name): self = .get
    case 3 where bytes.equals("PUT", at: name): self = .put
    case 4 where bytes.equals("POST", at: name): self = .post
    case 4 where bytes.equals("HEAD", at: name): self = .head
    case 5 where bytes.equals("PATCH", at: name): self = .patch
    case 5 where bytes.equals("TRACE", at: name): self = .trace
    case 6 where bytes.equals("DELETE", at: name): self = .delete
    case 7 where bytes.equals("OPTIONS", at: name): self = .options
    default: self = .other
    }
  }
}

extension RequestHead {
  /// Finds path and query, and refuses a target whose form doesn't fit its method (RFC 9112 §3.2).
  fileprivate mutating func splitTarget(in bytes: RawSpan) -> ProtocolError? {
    let end = target.upperBound
    let queryStart = query?.lowerBound
    if let queryStart { query = queryStart..<end }
    let beforeQuery = queryStart.map { $0 - 1 } ?? end
    if method == .other, bytes.equals("CONNECT", at: methodName) { return .connectMethod }

    let first = bytes.byte(target.lowerBound)
    if first == UInt8(ascii: "/") {
      path = target.lowerBound..<beforeQuery
      return nil
    }
    if first == UInt8(ascii: "*"), target.count == 1 {
      // The HTTP/2 preface is parsed up to its version, so that its error can name HTTP/2.
      path = target
      return method == .options || bytes.equals("PRI", at: methodName) ? nil : .unfitTarget
    }

    let authorityStart: Int
    if target.count > 7, bytes.matches("http://", at: target.lowerBound..<target.lowerBound + 7) {
      authorityStart = target.lowerBound + 7
    } else if target.count > 8, bytes.matches("https://", at: target.lowerBound..<target.lowerBound + 8) {
      authorityStart = target.lowerBound + 8
    } else {
      return .unfitTarget
    }
    var pathStart = authorityStart
    while pathStart < beforeQuery, bytes.byte(pathStart) != UInt8(ascii: "/") { pathStart += 1 }
    guard Authority.isValid(authorityStart..<pathStart, in: bytes) else { return .invalidTarget }
    // An empty path means "/" (RFC 9110 §4.2.3). The second slash of "://" is used for it.
    path = pathStart < beforeQuery ? pathStart..<beforeQuery : authorityStart - 1..<authorityStart
    return nil
  }

  /// Whether this is the preface of a client that assumes HTTP/2 (RFC 9113 §3.4).
  fileprivate func isPreface(in bytes: RawSpan) -> Bool {
    method == .other && bytes.equals("PRI", at: methodName) && bytes.equals("*", at: target)
  }
}
