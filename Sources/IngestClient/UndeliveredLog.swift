// Logs undelivered payloads, with a limit on the number of lines: a client that disengages returns its whole buffer at
// once, and a service whose payloads are all malformed never stops.

internal import Logging
internal import Synchronization

/// Logs the first few payloads of each second, and then the number of further ones.
final class UndeliveredLog: Sendable {
  private struct Window {
    var second: Int64 = .min
    var count = 0
  }

  private static let linesPerSecond = 5

  private let logger: Logger
  private let window = Mutex(Window())

  init(_ logger: Logger) { self.logger = logger }

  /// - Parameter now: Time since any fixed moment.
  func note(_ undelivered: IngestClient.Undelivered, at now: Duration) {
    let (unwritten, write) = window.withLock { window in
      var unwritten = 0
      if window.second != now.components.seconds {
        unwritten = max(0, window.count - Self.linesPerSecond)
        window = Window(second: now.components.seconds)
      }
      window.count += 1
      return (unwritten, window.count <= Self.linesPerSecond)
    }
    if unwritten > 0 {
      logger.warning("more payloads not delivered; log lines suppressed", metadata: ["count": "\(unwritten)"])
    }
    if write { logger.warning("payload not delivered", metadata: ["reason": "\(undelivered)"]) }
  }
}
