// The refusal that was laid out last. One reading of the store proves the refusals of all that waited for it, so in a crowd of unknown keys
// dozens are the same to the letter, and laying one out costs as much as reading its request.

internal import HTTPFraming
internal import KeyReplica
internal import Synchronization

/// A refusal, ready but for its framing.
struct LaidOutRefusal: Sendable {
  /// For counters.
  let label: String
  let response: Response
}

/// Remembers the last proven refusal, for all threads.
final class RefusalMemo: Sendable {
  private struct Memo {
    let reason: RefusalReason
    let proof: Proof
    let dialect: Dialect
    let media: MediaType
    let refusal: LaidOutRefusal
  }

  private let last = Mutex<Memo?>(nil)

  /// The refusal for a reason, laid out anew unless it is the last one again. What isn't proven always is: it says how long to wait, and
  /// not everybody should wait as long.
  func refusal(
    _ why: PushFailing, in dialect: Dialect, _ media: MediaType, layOut: () -> LaidOutRefusal
  ) -> LaidOutRefusal {
    guard case .refused(let reason, let proof) = why else { return layOut() }
    let known = last.withLock { memo -> LaidOutRefusal? in
      guard let memo, memo.dialect === dialect, memo.media == media, memo.reason == reason, memo.proof == proof else {
        return nil
      }
      return memo.refusal
    }
    if let known { return known }
    let refusal = layOut()
    last.withLock { $0 = Memo(reason: reason, proof: proof, dialect: dialect, media: media, refusal: refusal) }
    return refusal
  }
}
