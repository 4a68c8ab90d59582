// Each refusal with its proof in the log, but never more lines than somebody could read: a client with a wrong key in a
// loop must not fill the disk.

internal import KeyReplica
internal import Logging
internal import Synchronization

/// Logs refusals: the first few of each second, and then how many more there were.
final class RefusalLog: Sendable {
  private struct Window {
    var second: Int64 = .min
    var count = 0
  }

  private static let linesPerSecond = 5

  private let logger: Logger
  private let window = Mutex(Window())

  init(logger: Logger) { self.logger = logger }

  func note(_ key: KeyID, _ reason: RefusalReason, _ proof: Proof) {
    let second = proof.asOf.nanoseconds / 1_000_000_000
    let (unwritten, write) = window.withLock { window in
      var unwritten = 0
      if window.second != second {
        unwritten = max(0, window.count - Self.linesPerSecond)
        window = Window(second: second)
      }
      window.count += 1
      return (unwritten, window.count <= Self.linesPerSecond)
    }
    if unwritten > 0 { logger.info("more refusals, not written one by one", metadata: ["count": "\(unwritten)"]) }
    guard write else { return }
    logger.info(
      "refused",
      metadata: [
        "key": "\(key)", "reason": "\(reason.rawValue)", "epoch": "\(proof.epoch)", "version": "\(proof.version)",
      ])
  }
}
