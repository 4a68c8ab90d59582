// Limits the time of an event loop that one client may use for new connections: for TLS handshakes, and at the admin
// listener. A handshake costs ten to two hundred times as much as a push, depending on the certificate's key, before
// anything is known about the client. If a client would use more than a quarter of one event loop, its connection is
// closed before its first bytes are read.

package import ClientAddress
package import KeyReplica
internal import Synchronization

/// Adds up each client's time, from any thread.
package final class ConnectionRate: Sendable {
  private struct Window {
    var second: Int64 = .min
    var taken: [IPAddress: Duration] = [:]
  }

  private let perSecond: Duration
  private let window = Mutex(Window())

  /// - Parameter perSecond: An event loop's time that a client may take each second.
  package init(perSecond: Duration = .milliseconds(250)) { self.perSecond = perSecond }

  /// - Parameter cost: The time of one handshake, see ``ServerKeyKind/handshake``.
  /// - Returns: Whether one more handshake may begin.
  package func admit(_ address: IPAddress, costing cost: Duration, at moment: Instant) -> Bool {
    let second = moment.nanoseconds / 1_000_000_000
    return window.withLock { window in
      roll(&window, to: second)
      let taken = window.taken[address.network, default: .zero] + cost
      guard taken <= perSecond else { return false }
      window.taken[address.network] = taken
      return true
    }
  }

  /// Adds the time that a handshake took beyond the expected time. If it exceeds a second's share, the rest is taken
  /// from the next seconds.
  package func charge(_ address: IPAddress, _ more: Duration, at moment: Instant) {
    window.withLock { window in
      roll(&window, to: moment.nanoseconds / 1_000_000_000)
      window.taken[address.network, default: .zero] += more
    }
  }

  private func roll(_ window: inout Window, to second: Int64) {
    guard window.second != second else { return }
    let passed = window.second == .min ? 0 : max(0, second - window.second)
    let paid = perSecond * Int(min(passed, 1_000))
    let debts = passed == 0 ? [:] : window.taken.compactMapValues { $0 > paid ? $0 - paid : nil }
    window = Window(second: second, taken: debts)
  }
}
