// What a receiver's answer means for the payload that was sent. The one table of statuses.
//
//   status                              | means                              | so
//   2xx                                 | it has it                          | stored
//   4xx but those below                 | it won't have this                 | a dead letter, with the status and the beginning of the answer
//   3xx, 401, 403, 404, 405, 407, 408,  | nothing by itself: the receiver is | `FaultFinding` decides: counted against the payload only where the
//   410, 425, 429, all 5xx, no answer,  | away, or busy, or has another      | receiver accepts others at the same time; else nothing is counted.
//   a reset, an answer out of bounds    | password, or dislikes this payload | No sooner than Retry-After says

internal import NIOHTTP1

/// What a receiver says of a request.
enum HTTPAnswer: Sendable {
  case accepted
  /// It won't accept this.
  case refused(reason: String)
  /// It was never sent, for a reason of this machine's own. That says nothing of the receiver or the payload.
  case unsent(reason: String)
  /// It didn't accept this, and whether that is because of this isn't known.
  case unclear(reason: String, retryAfter: Duration?)

  /// - Parameters:
  ///   - beginning: Of the answer's body.
  ///   - retryAfter: As the header says.
  init(status: UInt, beginning: String, retryAfter: Duration?) {
    let text = beginning.isEmpty ? "" : ": \(beginning)"
    let reason = "the receiver answered \(status)\(text)"
    switch status {
    case 200..<300: self = .accepted
    case 300..<400, 401, 403, 404, 405, 407, 410:
      self = .unclear(
        reason: "\(reason) (where it answers so to everything: look at the sink's address and password)",
        retryAfter: retryAfter)
    case 408, 425, 429: self = .unclear(reason: reason, retryAfter: retryAfter)
    case 400..<500: self = .refused(reason: reason)
    default: self = .unclear(reason: reason, retryAfter: retryAfter)
    }
  }

  /// Whether it says what becomes of the payload.
  var isPlain: Bool {
    switch self {
    case .accepted, .refused: true
    case .unclear, .unsent: false
    }
  }
}
