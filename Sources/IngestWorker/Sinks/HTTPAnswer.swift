// What a receiver's answer means for what was sent. The one table of statuses.
//
//   status                        | means                                      | so
//   2xx                           | it has it                                  | stored
//   408, 425, 429, 502, 503, 504  | not now                                    | nothing is counted; tried again, no sooner than Retry-After says
//   no answer                     | not now                                    | the same
//   3xx, 401, 403, 404, 405, 407, | the address or its password is wrong, and  | the same: a mistake of the operator's mustn't make dead
//   410                           | so for everything                          | letters of payloads that are fine
//   other 4xx                     | it won't have this                         | a dead letter, with the status and the beginning of the answer
//   other 5xx                     | it failed on this, or on everything        | see `HTTPSink`

internal import NIOHTTP1

/// What a receiver says of a request.
enum HTTPAnswer: Sendable {
  case accepted
  /// Nothing can be accepted now, whatever it is.
  case notNow(reason: String, retryAfter: Duration?)
  /// It won't accept this.
  case refused(reason: String)
  /// It failed, and may have failed because of this.
  case failed(reason: String)

  /// - Parameters:
  ///   - beginning: Of the answer's body.
  ///   - retryAfter: As the header says.
  init(status: UInt, beginning: String, retryAfter: Duration?) {
    let words = beginning.isEmpty ? "" : ": \(beginning)"
    let reason = "the receiver answered \(status)\(words)"
    switch status {
    case 200..<300: self = .accepted
    case 408, 425, 429, 502, 503, 504: self = .notNow(reason: reason, retryAfter: retryAfter)
    case 300..<400, 401, 403, 404, 405, 407, 410:
      self = .notNow(reason: "\(reason) (look at the sink's address and password)", retryAfter: retryAfter)
    case 400..<500: self = .refused(reason: reason)
    default: self = .failed(reason: reason)
    }
  }
}
