// The header in which a proxy names a connection's client: HAProxy's PROXY protocol, versions 1 and 2
// (proxy-protocol.txt of 2020/03/05).
//
// A function of all bytes so far and no state machine: a header has 536 bytes at most, nearly always arrives in one
// packet, and version 2 can't be decoded before it is complete. Each decision depends on the bytes up to one offset and
// on nothing behind it, so the way in which the stream is cut can't matter, and the bytes after a header aren't read.
//
// Nothing is repaired. A listener either expects the header on all connections or on none: guessing, the specification
// says (§5), would let any client claim another address. So there is no outcome "no header".

internal import Bytes

/// The header of the PROXY protocol, in which a proxy names the client of a connection.
public enum ProxyHeader {
  /// The result for the bytes so far.
  public enum Outcome: Sendable, Hashable {
    /// Possibly the beginning of a header. There are fewer bytes than ``ProxyHeader/maximumLength``.
    case incomplete
    /// A header of `length` bytes; the bytes after it are the client's. Without a `source` the connection counts as the
    /// sender's own: a health check, or a client whose address the protocol can't express.
    case complete(length: Int, source: IPAddress?)
    /// No header. The connection must be closed without an answer: the sender doesn't expect one.
    case refused(Refusal)
  }

  /// The longest header that is read, in bytes: the size of the smallest TCP segment that every host must accept, in
  /// which both formats were made to fit (§2). A header in version 1 may have ``maximumLineLength`` of it.
  public static let maximumLength = 536

  /// The longest header in version 1, in bytes with its line end (§2.1).
  public static let maximumLineLength = 107

  /// Reads a header.
  ///
  /// Once it is complete or refused the result stays the same, whatever follows. While it is incomplete, this may be
  /// called again with each byte.
  /// - Parameter bytes: All bytes of the connection so far.
  public static func parse(_ bytes: RawSpan) -> Outcome {
    guard bytes.byteCount > 0 else { return .incomplete }
    return bytes.byte(0) == ProxyBlock.signature.utf8Start[0] ? ProxyBlock.parse(bytes) : ProxyLine.parse(bytes)
  }
}
