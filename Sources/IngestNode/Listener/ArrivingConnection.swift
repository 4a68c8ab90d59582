// A connection after it was accepted and before it is set up: the facts that are known before it costs anything.

internal import ClientAddress
internal import Foundation

/// A connection that was accepted and that no event loop has taken over yet.
struct ArrivingConnection {
  /// nil if the peer has no IP address.
  let peer: IPAddress?
  let socket: CInt

  /// The client that a load balancer names in the header of the PROXY protocol. Load balancers send the header with the
  /// connection, so it has nearly always arrived when connections had to wait. The bytes stay in the socket.
  /// - Returns: nil if the header hasn't arrived or is invalid, and for the load balancer's own connections.
  func clientOfProxy() -> IPAddress? {
    withUnsafeTemporaryAllocation(byteCount: ProxyHeader.maximumLength, alignment: 1) { bytes in
      let count = recv(socket, bytes.baseAddress, bytes.count, CInt(MSG_PEEK) | CInt(MSG_DONTWAIT))
      // If this fails, reading the connection will fail too.
      guard count > 0 else { return nil }
      let read = RawSpan(_unsafeBytes: UnsafeRawBufferPointer(rebasing: bytes[..<count]))
      guard case .complete(_, let source) = ProxyHeader.parse(read) else { return nil }
      return source
    }
  }
}
