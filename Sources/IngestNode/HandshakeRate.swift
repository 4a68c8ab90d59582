// How much of an event loop's time one client may take with TLS handshakes. Each costs ten to two hundred times what
// a push costs, by the certificate's key, before anything is known of the client. A client that would take more than a
// quarter of one event loop has its connection closed before its hello is read.

internal import ClientAddress
internal import KeyReplica
internal import Synchronization

/// Adds up handshakes by client, from any thread.
final class HandshakeRate: Sendable {
  private struct Window {
    var second: Int64 = .min
    var taken: [IPAddress: Duration] = [:]
  }

  private let perSecond: Duration
  private let window = Mutex(Window())

  /// - Parameter perSecond: An event loop's time that a client may take each second.
  init(perSecond: Duration = .milliseconds(250)) { self.perSecond = perSecond }

  /// - Parameter cost: Of one handshake, see ``ServerKeyKind/handshake``.
  /// - Returns: Whether one more may begin.
  func admit(_ address: IPAddress, costing cost: Duration, at moment: Instant) -> Bool {
    let second = moment.nanoseconds / 1_000_000_000
    return window.withLock { window in
      if window.second != second { window = Window(second: second) }
      let taken = window.taken[address.network, default: .zero] + cost
      guard taken <= perSecond else { return false }
      window.taken[address.network] = taken
      return true
    }
  }
}
