// Every status that a client can get, and how it reacts.
//
// | status | meaning | why |
// |---|---|---|
// | 2xx | delivered | the gate has it |
// | 400, 413, 415, 422 | undeliverable | the payload was examined; sending it again won't help |
// | 401, 403 | refused | concerns the key, not the payload: tried again, see `Outbox` |
// | everything else | failed | 429 and 5xx mean "later"; 3xx, 404 and the like are from a proxy or a wrong endpoint |
//
// A mistake in a proxy can be corrected without losing the payload.

/// The result of one attempt.
enum AttemptResult: Sendable, Equatable {
  case delivered(IngestClient.Answer)
  case undeliverable(IngestClient.Answer)
  case refused(IngestClient.Answer)
  /// - retryAfter: The server's Retry-After, if there was one, not bounded yet.
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
    case .failed(let failure, _): failure.code == .answered ? "unavailable" : failure.code.description
    }
  }
}
