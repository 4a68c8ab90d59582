// Limits the log to as many lines as a person can read: a client with a wrong key in a loop must not fill the disk.

package import KeyReplica
internal import KeyStore
package import Logging
internal import Synchronization

/// Lets the first few lines of each window through, and counts the others.
package final class LineLimiter: Sendable {
  private struct Window {
    var number: Int64 = .min
    var count = 0
  }

  private let lines: Int
  private let seconds: Int64
  private let window = Mutex(Window())

  package init(lines: Int = 5, perSeconds seconds: Int64 = 1) {
    self.lines = lines
    self.seconds = seconds
  }

  /// - Returns: Whether a line may be written now, and how many were suppressed in the window before.
  package func admit(at moment: Instant) -> (isAdmitted: Bool, unwritten: Int) {
    let number = moment.nanoseconds / 1_000_000_000 / seconds
    return window.withLock { window in
      var unwritten = 0
      if window.number != number {
        unwritten = max(0, window.count - lines)
        window = Window(number: number)
      }
      window.count += 1
      return (window.count <= lines, unwritten)
    }
  }

  /// Writes a line if one may be written now, with the number of suppressed lines of the window before as
  /// `suppressed_lines`.
  package func write(
    _ level: Logger.Level, _ message: @autoclosure () -> Logger.Message, _ metadata: @autoclosure () -> Logger.Metadata,
    to logger: Logger
  ) {
    let (isAdmitted, unwritten) = admit(at: .recent)
    guard isAdmitted else { return }
    var metadata = metadata()
    metadata["suppressed_lines"] = "\(unwritten)"
    logger.log(level: level, message(), metadata: metadata)
  }
}
