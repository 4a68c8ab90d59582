// The limits of one connection in bytes and counts. There are no time limits here: the caller sets deadlines by the
// connection's phase.

/// The limits for a connection's requests.
public struct RequestLimits: Sendable, Equatable {
  /// Maximum bytes of the request line, with its line end. A longer one is answered with 414.
  public let requestLineBytes: Int
  /// Maximum bytes of all header lines together, with their line ends and without the empty line after them. A larger
  /// header is answered with 431.
  public let headerBytes: Int
  /// Maximum header lines, also for trailers. More are answered with 431.
  public let fieldCount: Int
  /// Maximum bytes of a body without its chunk framing. A larger one is answered with 413.
  public let bodyBytes: Int
  /// Maximum bytes of an unwanted body that are read to keep the connection. If there are more, or an unknown number,
  /// the connection closes instead.
  public let drainBytes: Int
  /// Maximum bytes that are read and discarded while the connection closes. Closing a socket that has unread bytes
  /// resets the connection, and the client may lose the answer.
  public let lingerBytes: Int
  /// Maximum bytes of all chunk extensions of one request together.
  public let chunkExtensionBytes: Int
  /// Maximum bytes of all trailer lines of one request together.
  public let trailerBytes: Int
  /// After this number of requests the connection closes. This limits how long a load balancer uses the same node.
  public let requests: Int

  /// The largest possible head: offsets into it are kept in 16 bits.
  static let longestHead = Int(UInt16.max) - 2

  /// - Precondition: `requestLineBytes`, `headerBytes`, `fieldCount` and `requests` are positive and the others not
  ///   negative. `requestLineBytes` and `headerBytes` together are at most 65,533.
  public init(
    requestLineBytes: Int = 8 << 10, headerBytes: Int = 16 << 10, fieldCount: Int = 100, bodyBytes: Int = 1 << 20,
    drainBytes: Int = 64 << 10, lingerBytes: Int = 1 << 20, chunkExtensionBytes: Int = 1 << 10,
    trailerBytes: Int = 4 << 10, requests: Int = 1_000_000
  ) {
    precondition(requestLineBytes > 0 && headerBytes > 0 && fieldCount > 0 && requests > 0, "limits must be positive")
    precondition(bodyBytes >= 0 && drainBytes >= 0 && lingerBytes >= 0, "limits can't be negative")
    precondition(chunkExtensionBytes >= 0 && trailerBytes >= 0, "limits can't be negative")
    precondition(
      requestLineBytes <= Self.longestHead && headerBytes <= Self.longestHead - requestLineBytes,
      "a head may have at most \(Self.longestHead) bytes")
    self.requestLineBytes = requestLineBytes
    self.headerBytes = headerBytes
    self.fieldCount = fieldCount
    self.bodyBytes = bodyBytes
    self.drainBytes = drainBytes
    self.lingerBytes = lingerBytes
    self.chunkExtensionBytes = chunkExtensionBytes
    self.trailerBytes = trailerBytes
    self.requests = requests
  }
}
