// The fields of the header about framing and the connection: Host, Content-Length, Transfer-Encoding, Connection,
// Expect. All other fields are left to the application.
//
// Where the RFCs leave a choice, the request is refused. Several Content-Length lines are refused even if they are
// equal: only a broken or a hostile sender repeats the line, and the hop before the node may have used the other one.
// `5, 5` in one line is treated alike. Content-Length together with Transfer-Encoding is refused, although the RFC lets
// the latter override the former.

internal import Bytes

/// The fields that the state machine itself uses. A trailer may not have these names.
enum FramingField {
  case host
  case expect
  case connection
  case contentLength
  case transferEncoding

  @inline(__always) init?(_ name: Range<Int>, in bytes: RawSpan) {
    switch name.count {
    case 4 where bytes.matches("host", at: name): self = .host
    case 6 where bytes.matches("expect", at: name): self = .expect
    case 10 where bytes.matches("connection", at: name): self = .connection
    case 14 where bytes.matches("content-length", at: name): self = .contentLength
    case 17 where bytes.matches("transfer-encoding", at: name): self = .transferEncoding
    default: return nil
    }
  }
}

/// The combined meaning of these fields in one header.
struct FramingFields {
  private var hasHost = false
  private var length: Int?
  /// Elements of all Transfer-Encoding lines, in their order.
  private var codings = 0
  private var chunkedCodings = 0
  private var endsInChunked = false
  private var hasEncoding = false
  private var saysClose = false
  private var saysKeepAlive = false
  private(set) var expectsContinue = false

  init() {}

  /// Adds one of the fields.
  mutating func add(_ field: FramingField, _ value: Range<Int>, in bytes: RawSpan) -> ProtocolError? {
    switch field {
    case .host:
      guard !hasHost else { return .severalHosts }
      hasHost = true
      return Authority.isValid(value, in: bytes) ? nil : .invalidHost

    case .expect:
      guard bytes.matches("100-continue", at: value) else { return .unknownExpectation }
      expectsContinue = true
      return nil

    case .connection:
      bytes.forEachElement(of: value) { element in
        if bytes.matches("close", at: element) { saysClose = true }
        if bytes.matches("keep-alive", at: element) { saysKeepAlive = true }
      }
      return nil

    case .contentLength:
      guard length == nil else { return .severalContentLengths }
      guard !Self.hasTab(around: value, in: bytes) else { return .invalidContentLength }
      guard let number = Self.decimal(value, in: bytes) else { return .invalidContentLength }
      length = number
      return nil

    case .transferEncoding:
      hasEncoding = true
      guard !Self.hasTab(around: value, in: bytes) else { return .malformedTransferEncoding }
      bytes.forEachElement(of: value) { element in
        codings += 1
        // Anything but the bare word counts as another coding: a parameter, an empty element, any other text.
        endsInChunked = bytes.matches("chunked", at: element)
        if endsInChunked { chunkedCodings += 1 }
      }
      return nil
    }
  }

  /// The error in the combination of the fields.
  func fault(in version: RequestHead.Version) -> ProtocolError? {
    if hasEncoding {
      if version == .http10 { return .encodingInHTTP10 }
      if length != nil { return .lengthAndEncoding }
      // RFC 9112 §6.3: without chunked at the end the length of the body is unknown. §6.1: chunked is never applied
      // twice.
      if !endsInChunked || chunkedCodings > 1 { return .malformedTransferEncoding }
      if codings > 1 { return .unknownTransferCoding }
    }
    // HTTP/1.0 had no Host.
    if !hasHost, version == .http11 { return .missingHost }
    return nil
  }

  var body: BodyKind {
    if hasEncoding { return .chunked }
    return length.map { .length($0) } ?? .none
  }

  /// Whether the client wants to use the connection again.
  func isPersistent(in version: RequestHead.Version) -> Bool {
    !saysClose && (version == .http11 || saysKeepAlive)
  }

  /// Whether the whitespace around a value contains a tab. The RFC counts a tab as whitespace, some parsers report an
  /// error, and others make it part of the value. In framing fields it is refused.
  private static func hasTab(around value: Range<Int>, in bytes: RawSpan) -> Bool {
    var end = value.upperBound
    while bytes.byte(end) == .space { end += 1 }
    if bytes.byte(end) == .tab { return true }
    var start = value.lowerBound
    while bytes.byte(start - 1) == .space { start -= 1 }
    return bytes.byte(start - 1) == .tab
  }

  /// Digits only. A number too large for an Int is returned as the largest Int: it exceeds any limit.
  private static func decimal(_ range: Range<Int>, in bytes: RawSpan) -> Int? {
    guard !range.isEmpty else { return nil }
    var number = 0
    for at in range {
      let byte = bytes.byte(at)
      guard byte.isDigit else { return nil }
      let (tens, overTens) = number.multipliedReportingOverflow(by: 10)
      let (sum, overSum) = tens.addingReportingOverflow(Int(byte &- 0x30))
      number = overTens || overSum ? .max : sum
    }
    return number
  }
}
