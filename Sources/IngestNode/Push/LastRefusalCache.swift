// The refusals that were formatted last. One reading of the store proves the refusals of all requests that waited for
// it, so with many unknown keys dozens of answers are identical. So are all answers to requests without a key, or for
// unknown paths, and anybody can send any number of those. Formatting an answer costs at least as much as reading its
// request.

internal import HTTPFraming
internal import KeyReplica
internal import Synchronization

/// A refusal, complete except for its framing.
struct LaidOutRefusal: Sendable {
  /// The label for counters.
  let label: String
  let response: Response
}

/// Keeps the last refusal of each kind, for all threads.
final class LastRefusalCache: Sendable {
  /// The facts of a refusal, for kinds whose text depends on nothing else.
  private enum Rendered: Equatable {
    case refused(RefusalReason, Proof)
    case missingKey, notFound

    /// nil for an answer that must be formatted each time, mostly because its Retry-After is random, so that not all
    /// clients wait equally long.
    init?(_ why: PushRejection) {
      switch why {
      case .refused(let reason, let proof): self = .refused(reason, proof)
      case .missingKey: self = .missingKey
      case .notFound: self = .notFound
      default: return nil
      }
    }
  }

  private struct Memo {
    let words: Rendered
    let dialect: Dialect
    let media: MediaType
    let refusal: LaidOutRefusal
  }

  private struct Last {
    var refused: Memo?
    var missingKey: Memo?
    var notFound: Memo?

    subscript(words: Rendered) -> Memo? {
      get {
        switch words {
        case .refused: refused
        case .missingKey: missingKey
        case .notFound: notFound
        }
      }
      set {
        switch words {
        case .refused: refused = newValue
        case .missingKey: missingKey = newValue
        case .notFound: notFound = newValue
        }
      }
    }
  }

  private let last = Mutex(Last())

  /// The refusal for a reason. It is formatted again unless it equals the last one of its kind.
  func refusal(
    _ why: PushRejection, in dialect: Dialect, _ media: MediaType, layOut: () -> LaidOutRefusal
  ) -> LaidOutRefusal {
    guard let words = Rendered(why) else { return layOut() }
    let known = last.withLock { last -> LaidOutRefusal? in
      guard let memo = last[words], memo.words == words, memo.dialect === dialect, memo.media == media else {
        return nil
      }
      return memo.refusal
    }
    if let known { return known }
    let refusal = layOut()
    last.withLock { $0[words] = Memo(words: words, dialect: dialect, media: media, refusal: refusal) }
    return refusal
  }
}
