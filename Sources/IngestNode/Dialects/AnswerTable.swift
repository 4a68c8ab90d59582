// Every status that the push listener can answer, and why. Nothing else in Sluice decides on a status. A dialect
// decides only whether 200 or 202 means "accepted", which status ends a request that must not be repeated
// (`UnrepeatedStatuses`), and the wording.
//
// | status | when | why this one |
// |---|---|---|
// | 200, 202 | Redis or the spool has the payload; or an active key, if only that was asked | as clients expect it |
// | 400 | no key, no possible key, or a malformed request | sending it again won't help |
// | 401 | the key is proven unknown | clients shut themselves down on it, so it needs its proof |
// | 403 | the key is proven suspended, revoked or expired | the same |
// | 404, 405 | an unknown path or method | a mistake in the client's settings |
// | 408 | the request arrived too slowly | the part that arrived can't be used |
// | 413 | larger than the limit | sending it again won't help |
// | 414, 417, 431, 501, 505 | HTTP that this server doesn't read, see `ProtocolError` | the same |
// | 429, 500, 504 | only the client may send it again, see `mayBeAskedElsewhere` | the status that its clients handle |
// | 503 | everything else | safe with every client: it keeps the payload or loses only this one, and continues |
//
// 402 and 406 shut down some old agents, so they are never used. 429 shuts them down too, and 500 makes OTLP's
// exporters drop their data. So each dialect has its own status where 503 is wrong.

internal import Foundation
internal import HTTPFraming
internal import KeyReplica

/// An answer other than "accepted", before a dialect formats it.
struct AnswerFacts: Sendable {
  var status: Int
  /// The kind of answer.
  var error: String
  /// A short name for the reason, if the kind doesn't show it.
  var reason: String?
  /// One line of text for people.
  var detail: String?
  /// The proof of a refusal, the date at which it was read, and the date of the source mark; nil if the store has none.
  var proof: (proof: Proof, asOf: String, sourceAsOf: String?)?
  /// The limit in bytes.
  var limit: Int?
  /// The wait in seconds.
  var retryAfter: Int?
  /// The allowed methods, for 405.
  var allow: String?

  /// A label of the metrics.
  var label: String { reason ?? error }
}

/// The statuses of a dialect where 503 would be wrong. Load balancers don't ask another node after them, the dialect's
/// clients send the payload again if they retry at all, and no client shuts down.
struct UnrepeatedStatuses: Sendable {
  /// For an account that exceeds its rate.
  var tooFast: TooFastStatus
  /// For a payload that was sent to Redis with an unknown outcome.
  var outcomeUnknown: Int
}

enum AnswerTable {
  /// Whether a load balancer may ask another node after this answer, without the client's knowledge. Load balancers
  /// decide by the status alone (`retry-on 503`, `http_503`, and by default in a mesh). So 503 means: this node did
  /// nothing with the payload that a second node could do a second time, and refused nothing that a second node would
  /// allow.
  ///
  /// | answer | another node may be asked | because |
  /// |---|---|---|
  /// | undecided | yes | the problem may be this node's mirror, or its connection to the store |
  /// | `node_full`, `account_full`, `address_full`, `keyless_full`, `queue_full` | yes | this node's memory is full |
  /// | `too_many_connections`, `shutting_down` | yes | this node has too many connections, or ends |
  /// | `queue_away`, `queue_refused`, `durability_lost` | yes | it may be this node's connection, or its reading |
  /// | `spool_full`, `spool_failed` | yes | in addition, it is this node's disk |
  /// | `queue_over_limit` | yes, in vain | all nodes read the same queue, and only a load balancer can notice that |
  /// | `outcome_unknown` with an Idempotency-Key | yes | a second time it is the same payload |
  /// | `outcome_unknown` without | no | another node would put the payload into the queue once more |
  /// | `account_over_limit` | no | all nodes read the same queue, and see the same account fill it |
  /// | `large_payloads_too_fast` | no | all nodes push to the same Redis |
  /// | `too_many_retries`, `too_many_dead_letters` | no | all nodes read the same queue |
  /// | `too_fast` | no | another node would accept it, and the effective limit would be the sum of all nodes' limits |
  ///
  /// - Returns: Nil for an answer that is final for the client too.
  static func mayBeAskedElsewhere(_ failure: PushRejection) -> Bool? {
    switch failure {
    case .undecided, .unavailable, .overLimit: true
    case .outcomeUnknown(let isRepeatable): isRepeatable
    case .tooFast, .accountOverLimit, .accountSlowsRedis, .tooManyRetries, .tooManyDeadLetters: false
    case .refused, .missingKey, .keyTooLong, .uncountable, .notFound, .methodNotAllowed, .tooLarge, .unreadable: nil
    }
  }

  /// The result for the payload, for reports and metrics. The status doesn't show it, because each dialect has its own
  /// statuses.
  static func outcome(_ failure: PushRejection) -> AnswerOutcome {
    switch failure {
    case .refused: .refused
    case .undecided: .undecided
    case .unavailable, .overLimit, .outcomeUnknown: .unavailable
    case .tooFast, .accountOverLimit, .accountSlowsRedis, .tooManyRetries, .tooManyDeadLetters: .limited
    case .missingKey, .keyTooLong, .uncountable, .notFound, .methodNotAllowed, .tooLarge, .unreadable: .invalid
    }
  }

  /// - Parameters:
  ///   - unrepeated: The dialect's statuses for answers after which no other node may be asked.
  ///   - wallTime: Converts the machine's monotonic times to dates.
  ///   - retryAfter: Draws the Retry-After time at random, so that clients don't all return at the same time.
  static func facts(
    _ failure: PushRejection, unrepeated: UnrepeatedStatuses, wallTime: (Instant) -> Date, retryAfter: () -> Int
  ) -> AnswerFacts {
    switch failure {
    case .refused(let reason, let proof):
      let style = Date.ISO8601FormatStyle(includingFractionalSeconds: true)
      let asOf = wallTime(proof.asOf).formatted(style)
      // By Redis's clock, unlike the other date.
      let sourceAsOf = proof.sourceAsOf.map { Date(timeIntervalSince1970: Double($0) / 1e6).formatted(style) }
      return AnswerFacts(
        status: reason == .unknownKey ? 401 : 403, error: reason.rawValue,
        detail: "proven at version \(proof.version) of the key store (epoch \(proof.epoch)), read at \(asOf)"
          + (sourceAsOf.map { ", equal to the source as of \($0)" } ?? ""),
        proof: (proof, asOf, sourceAsOf))
    case .undecided(let why):
      return AnswerFacts(
        status: 503, error: "undecided", reason: why.code, retryAfter: retryAfter())
    case .unavailable(let why):
      return AnswerFacts(
        status: 503, error: "unavailable", reason: why.rawValue, retryAfter: retryAfter())
    case .overLimit(let seconds):
      return AnswerFacts(status: 503, error: "unavailable", reason: "queue_over_limit", retryAfter: seconds)
    case .accountOverLimit(let seconds):
      return AnswerFacts(
        status: unrepeated.tooFast.rawValue, error: "too_fast", reason: "account_over_limit",
        detail: "the queue is nearly full, and this account has more than its share waiting; retry later",
        retryAfter: seconds)
    case .accountSlowsRedis(let seconds):
      return AnswerFacts(
        status: unrepeated.tooFast.rawValue, error: "too_fast", reason: "large_payloads_too_fast",
        detail: "this account's large payloads take more of Redis's time than one account may", retryAfter: seconds)
    case .tooManyRetries(let seconds):
      return AnswerFacts(
        status: unrepeated.tooFast.rawValue, error: "too_fast", reason: "too_many_retries",
        detail: "too many payloads of the account wait for a retry, because they couldn't be stored yet; retry later",
        retryAfter: seconds)
    case .tooManyDeadLetters(let seconds):
      return AnswerFacts(
        status: unrepeated.tooFast.rawValue, error: "too_fast", reason: "too_many_dead_letters",
        detail: "too many payloads of the account couldn't be stored, and need an operator",
        retryAfter: seconds)
    case .outcomeUnknown(let isRepeatable):
      return AnswerFacts(
        status: isRepeatable ? 503 : unrepeated.outcomeUnknown, error: "unavailable", reason: "outcome_unknown",
        retryAfter: retryAfter())
    case .tooFast(let chosen):
      return AnswerFacts(
        status: (chosen ?? unrepeated.tooFast).rawValue, error: "too_fast",
        detail: "the account exceeds its rate limit",
        retryAfter: retryAfter())
    case .missingKey:
      return AnswerFacts(status: 400, error: "missing_key", detail: "no API key found where this path expects it")
    case .keyTooLong(let limit):
      return AnswerFacts(
        status: 400, error: "key_too_long", detail: "the key is longer than \(limit) bytes", limit: limit)
    case .uncountable(let why):
      return AnswerFacts(status: 400, error: "malformed", reason: "uncountable_events", detail: why)
    case .notFound: return AnswerFacts(status: 404, error: "not_found")
    case .methodNotAllowed(let allow):
      return AnswerFacts(status: 405, error: "method_not_allowed", detail: "allowed: \(allow)", allow: allow)
    case .tooLarge(let limit):
      return AnswerFacts(
        status: 413, error: "too_large", detail: "the body is larger than the maximum of \(limit) bytes", limit: limit)
    case .unreadable(let refusal):
      return AnswerFacts(
        status: refusal.status, error: "malformed", reason: refusal.rawValue, detail: refusal.reason)
    }
  }

  /// The headers of an answer that are the same in every dialect.
  static func fields(_ facts: AnswerFacts) -> [(name: String, value: String)] {
    var fields: [(name: String, value: String)] = []
    if let seconds = facts.retryAfter { fields.append(("retry-after", "\(seconds)")) }
    if facts.status == 401 { fields.append(("www-authenticate", "Bearer")) }
    if let allow = facts.allow { fields.append(("allow", allow)) }
    return fields
  }
}
