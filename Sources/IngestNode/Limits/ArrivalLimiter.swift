// How many connections a client may begin while the event loops are behind with those that came.
//
// To begin a connection costs an event loop a hundred microseconds and more, and the kernel hands connections out in
// the order in which they came. So a client that opens thousands again and again makes everybody's new connections
// wait, however few it may have at once. Those that it has begun too many of are reset by the thread that accepts,
// which costs a twentieth, so that the kernel's queue is never long.
//
// Nothing is refused while the event loops keep up and there are places: a client may then begin as many as it likes,
// as a load test from one machine does. Only when so many wait for their event loop that they can't be one moment's, or
// places are short, does each client have a share of what is left of this second: an eighth. Each may begin a few in
// any case.

internal import ClientAddress
internal import KeyReplica
internal import Synchronization

/// Counts connections that begin, from any thread.
final class ArrivalLimiter: Sendable {
  private struct Window {
    var second: Int64 = .min
    /// In all, and those of them that began while the event loops were behind.
    var begun = 0
    var begunBehind = 0
    var begunBy: [IPAddress: Int] = [:]
  }

  /// So many that wait for their event loop are a backlog.
  static let backlog = 128
  /// Of what is left of a second's connections, a client may have one part in so many.
  private static let share = 8
  /// An event loop's time for a connection that begins, without TLS.
  private static let cost = Duration.microseconds(200)

  /// Connections a second.
  private let perSecond: Int
  /// A client may begin so many in each second, whatever others do.
  let fewest: Int
  private let usesTLS: Bool
  private let window = Mutex(Window())

  /// - Parameters:
  ///   - eventLoops: How many there are. Connections that begin may take two fifths of their time.
  ///   - handshake: What a TLS handshake takes; nil without TLS.
  init(eventLoops: Int, handshake: Duration?) {
    perSecond = Int(Duration.milliseconds(400) * eventLoops / (Self.cost + (handshake ?? .zero)))
    fewest = min(max(perSecond / 100, 2), 10)
    usesTLS = handshake != nil
  }

  /// A connection has come.
  /// - Parameters:
  ///   - client: nil where it isn't known, or where many stand behind it: it is admitted then.
  ///   - waiting: Connections that came before and wait for their event loop.
  ///   - isCrowded: Whether places are short, in all or for this client, which is as good a reason to count as a
  ///     backlog: soon each that begins ends another one.
  /// - Returns: Whether it may begin.
  func admits(_ client: IPAddress?, waiting: Int, isCrowded: Bool, at moment: Instant) -> Bool {
    let second = moment.nanoseconds / 1_000_000_000
    return window.withLock { window in
      if window.second != second { window = Window(second: second) }
      // A handshake takes its time later, when its first bytes are there: by then it is too late to refuse it.
      let isBehind = isCrowded || waiting >= Self.backlog || usesTLS && window.begun >= perSecond / 2
      guard let client = client?.network else {
        window.begun += 1
        return true
      }
      let begun = window.begunBy[client, default: 0]
      if isBehind {
        // Those that began before there was a reason to count are held against the client alone, and not against
        // others.
        guard begun < max(fewest, (perSecond - window.begunBehind) / Self.share) else { return false }
        window.begunBehind += 1
      }
      window.begun += 1
      window.begunBy[client] = begun + 1
      return true
    }
  }
}
