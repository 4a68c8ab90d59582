// How many handshakes of TLS one client may begin. Each costs an event loop some 190 µs, ten times what a push costs,
// before anything is known of the client: a thousand a second are a fifth of one loop. Beyond that the connection is
// closed before its hello is read.

internal import ClientAddress
internal import KeyReplica
internal import Synchronization

/// Counts handshakes by client, from any thread.
final class HandshakeRate: Sendable {
  private struct Window {
    var second: Int64 = .min
    var counts: [IPAddress: Int] = [:]
  }

  private let perSecond: Int
  private let window = Mutex(Window())

  init(perSecond: Int = 1_000) { self.perSecond = perSecond }

  /// - Returns: Whether one more may begin.
  func admit(_ address: IPAddress, at moment: Instant) -> Bool {
    let second = moment.nanoseconds / 1_000_000_000
    return window.withLock { window in
      if window.second != second { window = Window(second: second) }
      window.counts[address.network, default: 0] += 1
      return window.counts[address.network, default: 0] <= perSecond
    }
  }
}
