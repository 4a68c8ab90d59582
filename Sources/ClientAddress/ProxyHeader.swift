// The header in which a proxy names a connection's client: HAProxy's PROXY protocol, versions 1 and 2
// (proxy-protocol.txt of 2020/03/05).
//
// This is a function of all bytes so far, not a state machine: a header has 536 bytes at most, nearly always arrives in
// one packet, and version 2 can't be decoded before it is complete. Each decision depends only on the bytes up to one
// offset. So the result doesn't depend on how the stream is cut, and the bytes after a header aren't read.
//
// An invalid header is refused, never repaired. A listener expects the header on all connections or on none. Guessing
// would let any client claim another address, as the specification says (§5). So there is no outcome "no header".

internal import Bytes

/// The header of the PROXY protocol, in which a proxy names the client of a connection.
public enum ProxyHeader {
  /// The result for the bytes so far.
  public enum Outcome: Sendable, Hashable {
    /// Possibly the beginning of a header. There are fewer bytes than ``ProxyHeader/maximumLength``.
    case incomplete
    /// A header of `length` bytes; the bytes after it are the client's. If `source` is nil, the sender counts as the
    /// client: it sent a health check, or the protocol can't express the client's address.
    case complete(length: Int, source: IPAddress?)
    /// No header, or an invalid one. Close the connection without an answer: the sender doesn't expect one.
    case refused(Refusal)
  }

  /// Maximum length of a header in bytes: the size of the smallest TCP segment that every host must accept. Both
  /// formats were designed to fit into it (§2). The limit of version 1 is ``maximumLineLength``.
  public static let maximumLength = 536

  /// Maximum length of a header in version 1, in bytes with its line end (§2.1).
  public static let maximumLineLength = 107

  /// Reads a header.
  ///
  /// Once the result is complete or refused, further bytes don't change it. While it is incomplete, this may be called
  /// again with each byte.
  /// - Parameter bytes: All bytes of the connection so far.
  public static func parse(_ bytes: RawSpan) -> Outcome {
    guard bytes.byteCount > 0 else { return .incomplete }
    return bytes.byte(0) == ProxyBlock.signature.utf8Start[0] ? ProxyBlock.parse(bytes) : ProxyLine.parse(bytes)
  }
}
