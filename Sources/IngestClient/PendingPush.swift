// A caller's handle of an accepted payload: it can wait for the outcome or discard the handle.

internal import Synchronization

extension IngestClient {
  /// A payload that was accepted into the buffer.
  public final class PendingPush: Sendable {
    private struct Waiting {
      var outcome: Outcome?
      var callers: [UInt64: CheckedContinuation<Outcome?, Never>] = [:]
      var nextCaller: UInt64 = 0
    }

    /// The payload's idempotency key.
    public let idempotencyKey: String
    private let waiting = Mutex(Waiting())

    init(idempotencyKey: String) { self.idempotencyKey = idempotencyKey }

    /// Waits for the outcome. Cancelling ends the wait; the payload stays in the buffer.
    /// - Throws: `CancellationError` when the task is cancelled, nothing else.
    public func outcome() async throws -> Outcome {
      let caller = waiting.withLock { waiting in
        waiting.nextCaller += 1
        return waiting.nextCaller
      }
      let outcome = await withTaskCancellationHandler {
        await withCheckedContinuation { continuation in
          let known: Outcome?? = waiting.withLock { waiting in
            if let outcome = waiting.outcome { return .some(outcome) }
            if Task.isCancelled { return .some(nil) }
            waiting.callers[caller] = continuation
            return nil
          }
          if let known { continuation.resume(returning: known) }
        }
      } onCancel: {
        waiting.withLock { $0.callers.removeValue(forKey: caller) }?.resume(returning: nil)
      }
      guard let outcome else { throw CancellationError() }
      return outcome
    }

    func end(with outcome: Outcome) {
      let callers = waiting.withLock { waiting in
        waiting.outcome = outcome
        defer { waiting.callers.removeAll() }
        return waiting.callers.values
      }
      for caller in callers { caller.resume(returning: outcome) }
    }
  }
}
