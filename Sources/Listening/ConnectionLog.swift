// The log lines and metrics for connections that a listener didn't serve. A flood must be visible without filling the
// disk: all connections are counted, and one line in ten seconds has their number.

package import Logging
internal import Metrics

/// Counts and logs the connections that one listener closes on its own.
package struct ConnectionLog: Sendable {
  package enum Reason: String, CaseIterable, Sendable {
    /// All connections were in use and none could be closed, or this client had too many.
    case tooMany = "too_many"
    /// The event loops were behind with new connections.
    case tooManyArrivals = "too_many_arrivals"
    case tooManyHandshakes = "too_many_handshakes"
    case handshakeTooSlow = "handshake_too_slow"
    case handshakeTooLarge = "handshake_too_large"
    /// The connection hadn't sent an active key, and was closed for another connection.
    case evicted
    /// The connection had sent an active key, and was closed for another one because its account or client had more
    /// than its share.
    case evictedIdle = "evicted_idle"
  }

  private let listener: String
  private let logger: Logger
  private let counters: [Reason: Counter]
  private let lines = LineLimiter(lines: 1, perSeconds: 10)

  package init(_ listener: String, logger: Logger) {
    self.listener = listener
    self.logger = logger
    counters = Dictionary(
      uniqueKeysWithValues: Reason.allCases.map { reason in
        let dimensions = [("listener", listener), ("reason", reason.rawValue)]
        return (reason, Counter(label: "sluice_connections_closed_total", dimensions: dimensions))
      })
  }

  /// - Parameter peer: The client's address, if it is known.
  package func note(_ reason: Reason, peer: String?) {
    counters[reason]?.increment()
    lines.write(
      .warning, "connection closed: \(words(reason))",
      ["listener": "\(listener)", "peer": "\(peer ?? "unknown")"], to: logger)
  }

  private func words(_ reason: Reason) -> String {
    switch reason {
    case .tooMany: "too many connections, in total or from this client"
    case .tooManyArrivals: "this client opens connections too fast while other clients wait for one"
    case .tooManyHandshakes: "this client begins too many TLS handshakes a second"
    case .handshakeTooSlow: "its TLS handshake didn't end in time"
    case .handshakeTooLarge: "its TLS handshake has more bytes than any client needs"
    case .evicted: "the maximum of connections is reached, and a new one replaces the oldest without an active key"
    case .evictedIdle:
      "the maximum of connections is reached, and a new one replaces this idle one of an account or client with more than its share"
    }
  }
}
