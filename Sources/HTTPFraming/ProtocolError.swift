// The reasons why a request is refused. The connection closes after each of them: if a message can't be parsed, the
// beginning of the next one is unknown, and guessing it makes request smuggling possible.
//
// Where RFC 9110 and 9112 leave a choice, the request is refused and nothing is repaired.

/// Why the framing itself refused a request, before or while the application received it.
public enum ProtocolError: String, Sendable, CaseIterable, Equatable {
  // The request line.
  case requestLineTooLong = "request_line_too_long"
  case emptyLines = "empty_lines"
  case malformedRequestLine = "malformed_request_line"
  case invalidMethod = "invalid_method"
  case invalidTarget = "invalid_target"
  case unfitTarget = "unfit_target"
  case connectMethod = "connect_method"
  case malformedVersion = "malformed_version"
  case unsupportedVersion = "unsupported_version"
  case http2Preface = "http2_preface"

  // Lines.
  case bareLineFeed = "bare_line_feed"
  case bareCarriageReturn = "bare_carriage_return"

  // Header and trailer lines.
  case headerTooLarge = "header_too_large"
  case tooManyFields = "too_many_fields"
  case leadingWhitespace = "leading_whitespace"
  case foldedField = "folded_field"
  case emptyFieldName = "empty_field_name"
  case invalidFieldName = "invalid_field_name"
  case whitespaceBeforeColon = "whitespace_before_colon"
  case missingColon = "missing_colon"
  case invalidFieldValue = "invalid_field_value"

  // Errors in the meaning of the header.
  case missingHost = "missing_host"
  case severalHosts = "several_hosts"
  case invalidHost = "invalid_host"
  case invalidContentLength = "invalid_content_length"
  case severalContentLengths = "several_content_lengths"
  case lengthAndEncoding = "length_and_encoding"
  case encodingInHTTP10 = "encoding_in_http_1_0"
  case malformedTransferEncoding = "malformed_transfer_encoding"
  case unknownTransferCoding = "unknown_transfer_coding"
  case unknownExpectation = "unknown_expectation"

  // The body.
  case bodyTooLarge = "body_too_large"
  case invalidChunkSize = "invalid_chunk_size"
  case invalidChunkExtension = "invalid_chunk_extension"
  case chunkExtensionsTooLong = "chunk_extensions_too_long"
  case missingChunkEnd = "missing_chunk_end"
  case trailersTooLarge = "trailers_too_large"
  case forbiddenTrailer = "forbidden_trailer"

  // Time, which the caller measures.
  case tooSlow = "too_slow"

  /// The status to answer with.
  public var status: Int {
    switch self {
    case .tooSlow: 408
    case .bodyTooLarge: 413
    case .requestLineTooLong: 414
    case .unknownExpectation: 417
    case .headerTooLarge, .tooManyFields, .trailersTooLarge: 431
    // An unknown coding: RFC 9112 §6.1. CONNECT: RFC 9110 §9.3.6; there is nothing to open a tunnel to.
    case .unknownTransferCoding, .connectMethod: 501
    case .unsupportedVersion, .http2Preface: 505
    default: 400
    }
  }

  /// The reason as one line of text for people.
  public var reason: String {
    switch self {
    case .requestLineTooLong: "the request line is longer than this server reads"
    case .emptyLines: "more than one empty line stands before the request line"
    case .malformedRequestLine: "a request line is a method, a target and a version with one space between them"
    case .invalidMethod: "the method is not a token"
    case .invalidTarget: "the request target has an invalid character, or a host where only a path is allowed"
    case .unfitTarget: "the target must be a path, an http or https URI, or * with OPTIONS"
    case .connectMethod: "this server is not a proxy: CONNECT is not supported"
    case .malformedVersion: "the version is not HTTP/1.1 or HTTP/1.0"
    case .unsupportedVersion: "only HTTP/1.1 and HTTP/1.0 are supported"
    case .http2Preface: "HTTP/2 is not supported; send HTTP/1.1"
    case .bareLineFeed: "a line ended with LF without a CR before it"
    case .bareCarriageReturn: "a CR without an LF after it"
    case .headerTooLarge: "the header is larger than this server reads"
    case .tooManyFields: "there are more header lines than this server reads"
    case .leadingWhitespace: "whitespace stands before the first header line"
    case .foldedField: "a header line is continued on the next one"
    case .emptyFieldName: "a header line has no name"
    case .invalidFieldName: "a header name is not a token"
    case .whitespaceBeforeColon: "whitespace stands between a header name and its colon"
    case .missingColon: "a header line has no colon"
    case .invalidFieldValue: "a header value has a control character"
    case .missingHost: "HTTP/1.1 needs a Host header"
    case .severalHosts: "there is more than one Host header"
    case .invalidHost: "the Host header is not a host with an optional port"
    case .invalidContentLength: "Content-Length must be decimal digits and nothing else"
    case .severalContentLengths: "there is more than one Content-Length header"
    case .lengthAndEncoding: "Content-Length and Transfer-Encoding are both present"
    case .encodingInHTTP10: "HTTP/1.0 has no Transfer-Encoding"
    case .malformedTransferEncoding: "Transfer-Encoding must end with chunked, once"
    case .unknownTransferCoding: "chunked is the only supported transfer coding"
    case .unknownExpectation: "100-continue is the only supported expectation"
    case .bodyTooLarge: "the body is larger than this server accepts"
    case .invalidChunkSize: "a chunk size must be 1 to 16 hexadecimal digits and nothing else"
    case .invalidChunkExtension: "a chunk extension is malformed"
    case .chunkExtensionsTooLong: "the chunk extensions are longer than this server reads"
    case .missingChunkEnd: "a chunk's data is not followed by CRLF"
    case .trailersTooLarge: "the trailers are larger than this server reads"
    case .forbiddenTrailer: "a trailer has a name that only a header may have"
    case .tooSlow: "the request was not received in time"
    }
  }
}
