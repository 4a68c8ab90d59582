// The limits of one connection in bytes and counts. Time isn't here: the caller sets deadlines by the connection's
// phase.

/// The limits for a connection's requests.
public struct RequestLimits: Sendable, Equatable {
  /// Of the request line, with its line end; beyond it: 414.
  public let requestLineBytes: Int
  /// Of all header lines together, with their line ends and without the empty line after them; beyond it: 431.
  public let headerBytes: Int
  /// Maximum header lines; beyond it: 431. It applies to trailers too.
  public let fieldCount: Int
  /// Of a body without its chunk framing; beyond it: 413.
  public let bodyBytes: Int
  /// Maximum bytes of an unwanted body that are read so that the connection can go on. If there is more, or an unknown
  /// amount, the connection closes instead.
  public let drainBytes: Int
  /// Maximum bytes that are read and discarded while the connection closes. Closing a socket that has unread bytes
  /// resets the connection, and the client may lose the answer.
  public let lingerBytes: Int
  /// Of all chunk extensions of one request together.
  public let chunkExtensionBytes: Int
  /// Of all trailer lines of one request together.
  public let trailerBytes: Int
  /// After this number of requests the connection closes. It limits for how long a load balancer uses the same node.
  public let requests: Int

  /// The largest possible head: offsets into it are kept in 16 bits.
  static let longestHead = Int(UInt16.max) - 2

  /// - Precondition: all are positive (bytes that may be none at all: not negative), and a head of `requestLineBytes`
  ///   and `headerBytes` together has at most 65,533 bytes.
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
