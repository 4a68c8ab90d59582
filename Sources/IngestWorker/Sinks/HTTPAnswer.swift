// The meaning of a receiver's answer for the payload. This is the only table of statuses.
//
//   status                             | meaning                           | result
//   2xx                                | it has the payload                | stored
//   4xx, except those below            | it rejects this payload           | a dead letter, with the status and the
//                                      |                                   | beginning of the answer
//   3xx, 401, 403, 404, 405, 407, 408, | unclear: the receiver is down, or | `FaultFinding` decides: counted against
//   410, 425, 429, all 5xx, no answer, | busy, or has another password, or | the payload only if the receiver accepts
//   a reset, an answer over the limits | rejects this payload              | others at the same time; otherwise nothing
//                                      |                                   | is counted. Retried not before Retry-After

internal import NIOHTTP1

/// A receiver's answer to a request.
enum HTTPAnswer: Sendable {
  case accepted
  /// The receiver rejects this payload.
  case refused(reason: String)
  /// The request was never sent, because of a problem on this machine. That says nothing about the receiver or the
  /// payload.
  case unsent(reason: String)
  /// The receiver didn't accept this payload. It is unknown whether the payload is the reason.
  case unclear(reason: String, retryAfter: Duration?)

  /// - Parameters:
  ///   - beginning: The beginning of the answer's body.
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

  /// Whether the answer alone decides the payload's result.
  var isPlain: Bool {
    switch self {
    case .accepted, .refused: true
    case .unclear, .unsent: false
    }
  }
}
