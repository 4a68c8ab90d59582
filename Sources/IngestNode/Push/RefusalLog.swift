// Logs each refusal with its proof, as long as there are few.

internal import KeyReplica
internal import Listening
internal import Logging

/// Logs the first few refusals of each second, and then the number of further ones.
final class RefusalLog: Sendable {
  private let logger: Logger
  private let lines = LineLimiter()

  init(logger: Logger) { self.logger = logger }

  /// - Parameter client: The client's address; nil if it isn't known.
  func note(_ key: KeyID, _ reason: RefusalReason, _ proof: Proof, from client: String?) {
    let (isAdmitted, unwritten) = lines.admit(at: proof.asOf)
    if unwritten > 0 { logger.info("more refusals; log lines suppressed", metadata: ["count": "\(unwritten)"]) }
    guard isAdmitted else { return }
    logger.info(
      "refused",
      metadata: [
        "key": "\(key)", "reason": "\(reason.rawValue)", "epoch": "\(proof.epoch)", "version": "\(proof.version)",
        "client": "\(client ?? "unknown")", "source_as_of": "\(proof.sourceAsOf.map { "\($0) us" } ?? "none")",
      ])
  }
}
