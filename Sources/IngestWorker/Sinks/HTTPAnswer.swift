// What a receiver's answer means for the payload. This is the only table of statuses.
//
//   status                              | meaning                            | result
//   2xx                                 | it has the payload                 | stored
//   4xx but those below                 | it rejects this payload            | a dead letter, with the status and the
//   beginning of the answer
//   3xx, 401, 403, 404, 405, 407, 408,  | nothing by itself: the receiver is | `FaultFinding` decides: counted against
//   the payload only if the
//   410, 425, 429, all 5xx, no answer,  | down, or busy, or has another      | receiver accepts others at the same
//   time; else nothing is counted.
//   a reset, an answer over the limits  | password, or rejects this payload  | Not before Retry-After is over

internal import NIOHTTP1

/// A receiver's answer to a request.
enum HTTPAnswer: Sendable {
  case accepted
  /// It rejects this payload.
  case refused(reason: String)
  /// It was never sent, for a reason of this machine's own. That says nothing about the receiver or the payload.
  case unsent(reason: String)
  /// It didn't accept this payload, and it is unknown whether the payload is the reason.
  case unclear(reason: String, retryAfter: Duration?)

  /// - Parameters:
  ///   - beginning: Of the answer's body.
  ///   - retryAfter: The value of the header.
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

  /// Whether it alone decides the payload's result.
  var isPlain: Bool {
    switch self {
    case .accepted, .refused: true
    case .unclear, .unsent: false
    }
  }
}
