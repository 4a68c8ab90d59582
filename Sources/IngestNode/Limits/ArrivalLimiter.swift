// Limits how many connections a client may begin while the event loops are behind with new connections.
//
// Beginning a connection costs an event loop a hundred microseconds and more, and the kernel returns connections in the
// order of their arrival. So a client that opens thousands again and again delays everybody's new connections, however
// few of its own are open at once. The accepting thread resets the connections that a client has begun beyond its
// share. That costs a twentieth, so the kernel's queue is never long.
//
// Nothing is refused while the event loops keep up and connections are available: then a client may begin as many as it
// likes, as a load test from one machine does. A client has a share only if more connections wait for their event loop
// than arrive in one moment, or if few connections are left. The share is an eighth of the connections that can still
// begin in this second. Each client may begin a few in any case.

internal import ClientAddress
internal import KeyReplica
internal import Synchronization

/// Counts connections that begin, from any thread.
final class ArrivalLimiter: Sendable {
  private struct Window {
    var second: Int64 = .min
    /// The number of connections begun, and the number of those begun while the event loops were behind.
    var begun = 0
    var begunBehind = 0
    var begunBy: [IPAddress: Int] = [:]
  }

  /// There is a backlog if this number of connections wait for their event loop.
  static let backlog = 128
  /// A client's share is one part in this number of the connections that are left in a second.
  private static let share = 8
  /// An event loop's time for a connection that begins, without TLS.
  private static let cost = Duration.microseconds(200)

  /// Connections that can begin in a second.
  private let perSecond: Int
  /// A client may always begin this many in a second.
  let fewest: Int
  private let usesTLS: Bool
  private let window = Mutex(Window())

  /// - Parameters:
  ///   - eventLoops: The number of event loops. New connections may take two fifths of their time.
  ///   - handshake: The time of a TLS handshake; nil without TLS.
  init(eventLoops: Int, handshake: Duration?) {
    perSecond = Int(Duration.milliseconds(400) * eventLoops / (Self.cost + (handshake ?? .zero)))
    fewest = min(max(perSecond / 100, 2), 10)
    usesTLS = handshake != nil
  }

  /// Decides about a connection that was accepted.
  /// - Parameters:
  ///   - client: nil if it isn't known, or if it is a proxy for many clients. Such a connection is admitted.
  ///   - waiting: Earlier connections that wait for their event loop.
  ///   - isCrowded: Whether few connections are left, in all or for this client. That counts like a backlog, because
  ///     each new connection will soon close another one.
  /// - Returns: Whether the connection may begin.
  func admits(_ client: IPAddress?, waiting: Int, isCrowded: Bool, at moment: Instant) -> Bool {
    let second = moment.nanoseconds / 1_000_000_000
    return window.withLock { window in
      if window.second != second { window = Window(second: second) }
      // A handshake takes its time later, when its first bytes have arrived. Then it is too late to refuse the
      // connection.
      let isBehind = isCrowded || waiting >= Self.backlog || usesTLS && window.begun >= perSecond / 2
      guard let client = client?.network else {
        window.begun += 1
        return true
      }
      let begun = window.begunBy[client, default: 0]
      if isBehind {
        // Connections that began before there was a backlog count for this client, and not for the others' shares.
        guard begun < max(fewest, (perSecond - window.begunBehind) / Self.share) else { return false }
        window.begunBehind += 1
      }
      window.begun += 1
      window.begunBy[client] = begun + 1
      return true
    }
  }
}
