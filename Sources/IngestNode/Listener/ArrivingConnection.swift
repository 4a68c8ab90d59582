// A connection between accepting it and setting it up: what can be known of it before it costs anything.

internal import ClientAddress
internal import Foundation

/// A connection that was accepted and that no event loop has taken over yet.
struct ArrivingConnection {
  /// nil where it isn't an IP address.
  let peer: IPAddress?
  let socket: CInt

  /// The client that a balancer names in the header of the PROXY protocol. Balancers send the header with the
  /// connection, so it is nearly always there when connections have had to wait. Nothing is taken from the socket.
  /// - Returns: nil where the header isn't there yet or isn't one, and where the balancer speaks for itself.
  func clientOfProxy() -> IPAddress? {
    withUnsafeTemporaryAllocation(byteCount: ProxyHeader.maximumLength, alignment: 1) { bytes in
      let count = recv(socket, bytes.baseAddress, bytes.count, CInt(MSG_PEEK) | CInt(MSG_DONTWAIT))
      // Whatever fails here fails again when the connection is read.
      guard count > 0 else { return nil }
      let read = RawSpan(_unsafeBytes: UnsafeRawBufferPointer(rebasing: bytes[..<count]))
      guard case .complete(_, let source) = ProxyHeader.parse(read) else { return nil }
      return source
    }
  }
}
