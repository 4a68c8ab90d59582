// Every status that a client can be answered, and what it makes of it.
//
// | status | meaning | why |
// |---|---|---|
// | 2xx | delivered | the gate has it |
// | 400, 413, 415, 422 | undeliverable | the payload was looked at; sending it again won't help |
// | 401, 403 | refused | says something about the key, not about the payload: asked again, see `Outbox` |
// | everything else | failed | 429 and 5xx say "later"; 3xx, 404 and the like come from a proxy or a wrong endpoint, and a mistake in a proxy heals without the payload being lost |

/// What came of one attempt.
enum AttemptResult: Sendable, Equatable {
  case delivered(IngestClient.Answer)
  case undeliverable(IngestClient.Answer)
  case refused(IngestClient.Answer)
  /// - retryAfter: What the server asked to wait, if it did, not bounded yet.
  case failed(IngestClient.Failure, retryAfter: Duration?)

  init(_ answer: IngestClient.Answer, retryAfter: Duration?) {
    self =
      switch answer.status {
      case 200...299: .delivered(answer)
      case 400, 413, 415, 422: .undeliverable(answer)
      case 401, 403: .refused(answer)
      default: .failed(.answered(answer), retryAfter: retryAfter)
      }
  }

  /// A label of the metrics.
  var code: String {
    switch self {
    case .delivered: "delivered"
    case .undeliverable: "undeliverable"
    case .refused: "refused"
    case .failed(let failure, _) where failure.answer == nil: "\(failure.code)"
    case .failed: "unavailable"
    }
  }
}
