// Never more lines in the log than somebody could read: a client with a wrong key in a loop must not fill the disk.

internal import KeyReplica
internal import Synchronization

/// Lets the first few lines of each second through, and counts the others.
final class LineLimiter: Sendable {
  private struct Window {
    var second: Int64 = .min
    var count = 0
  }

  private static let linesPerSecond = 5

  private let window = Mutex(Window())

  /// - Returns: Whether a line may be written now, and how many weren't in the second before.
  func admit(at moment: Instant) -> (isAdmitted: Bool, unwritten: Int) {
    let second = moment.nanoseconds / 1_000_000_000
    return window.withLock { window in
      var unwritten = 0
      if window.second != second {
        unwritten = max(0, window.count - Self.linesPerSecond)
        window = Window(second: second)
      }
      window.count += 1
      return (window.count <= Self.linesPerSecond, unwritten)
    }
  }
}
