// What a proxy says about a connection's client before anything else: HAProxy's PROXY protocol, versions 1 and 2
// (proxy-protocol.txt of 2020/03/05).
//
// A function of the bytes so far and no machine that remembers where it was: a header has 536 bytes at most, comes in one
// packet nearly always, and version 2 can't be decoded before it is whole. Each decision rests on the bytes up to one
// place and on nothing behind it, so how the stream was cut can't matter, and what follows a header isn't looked at.
//
// Nothing is repaired. A listener either expects the header from whoever may connect to it or it doesn't: to guess, says
// the specification (§5), would let any client say that it is another. So there is no outcome "no header".

internal import Bytes

/// The header of the PROXY protocol, with which a proxy says whom a connection comes from.
public enum ProxyHeader {
  /// What the bytes so far are.
  public enum Outcome: Sendable, Hashable {
    /// The beginning of a header, as far as that can be told. There are fewer bytes than ``ProxyHeader/maximumLength``.
    case incomplete
    /// A header of `length` bytes; what follows is the client's. Without a `source` the connection counts as the sender's
    /// own: a health check, or a client whose address the protocol can't tell.
    case complete(length: Int, source: IPAddress?)
    /// No header. The connection must be closed without an answer: who sent this doesn't expect one.
    case refused(Refusal)
  }

  /// The longest header that is read, in bytes: what fits into the smallest TCP segment that every host must take, which
  /// is what both formats were made to fit in (§2). Of it a header in version 1 may have ``maximumLineLength``.
  public static let maximumLength = 536

  /// The longest header in version 1, in bytes with its line end (§2.1).
  public static let maximumLineLength = 107

  /// Reads a header.
  ///
  /// Once it is complete or refused it stays so, whatever else comes; while it is incomplete, it may be asked again with
  /// each byte.
  /// - Parameter bytes: All bytes of the connection so far.
  public static func parse(_ bytes: RawSpan) -> Outcome {
    guard bytes.byteCount > 0 else { return .incomplete }
    return bytes.byte(0) == ProxyBlock.signature.utf8Start[0] ? ProxyBlock.parse(bytes) : ProxyLine.parse(bytes)
  }
}
