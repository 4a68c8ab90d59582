// Random requests, each with what the push handler returns for it, so that the right answer to each is known.
// Most answers carry a mark that only their own request can have brought about: the id of its envelope, the epoch that
// proves its refusal, its account, its limit.

import FramingOracle
import HTTPFraming
import IngestQueue
import KeyReplica

@testable import IngestNode

/// A request and the answers that it may get.
struct PlannedRequest {
  /// What tells an answer from others.
  struct Expected {
    let status: Int
    /// Somewhere in its body.
    let mark: String
    /// Whether it may come before the request has, and so may have to end the connection.
    var isEarly = false
    /// Whether the payload was handed over before it.
    var isPushed = false
    var alwaysCloses = false
  }

  private(set) var request: GeneratedRequest
  /// One of these comes.
  private(set) var expected: [Expected] = []
  /// Whether it is invited to send its body.
  private(set) var isInvited = false
  private(set) var key: String
  private(set) var opinion = ScriptedGate.Opinion.admits(account: "")
  private(set) var handover = ScriptedGate.PendingEnqueue.now(.success(ScriptedGate.id))

  private enum Place: CaseIterable {
    case bearer, apiKey, query, honeycomb, sentryAuth, sentryAuthorization, sentryQuery, dsn, none
  }

  /// - Parameters:
  ///   - id: Unique on its connection.
  ///   - limits: Of the connection.
  ///   - budget: In bytes, of the connection alone.
  init(id: String, limits: RequestLimits, budget: Int, using generator: inout some RandomNumberGenerator) {
    func one<Element>(_ all: [Element]) -> Element { all.randomElement(using: &generator)! }

    request = GeneratedRequest(id: id, using: &generator)
    key = "key-\(id)"
    let (verdict, isKnown) = planVerdict(id, using: &generator)
    let (pushed, isAccepted) = planHandover(id, using: &generator)

    // What is asked, and where the key is.
    var served: Expected?
    var namesEnvelope = false
    var keepsBody = true
    let place: Place
    switch Int.random(in: 0..<20, using: &generator) {
    case 0...4:
      (request.method, request.target) = ("POST", "/v1/push/\(id)")
      namesEnvelope = true
      place = one([.bearer, .apiKey, .query, .none])
    case 5...8:
      (request.method, request.target) = ("POST", one(["/v1/traces", "/v1/metrics", "/v1/logs"]))
      place = one([.bearer, .apiKey, .query, .none])
    case 9...10:
      (request.method, request.target) = ("POST", one(["/1/log_entries", "/1/markers"]))
      place = one([.query, .query, .query, .none])
    case 11...12:
      (request.method, request.target) = ("POST", "/1/events/\(id)")
      place = one([.honeycomb, .honeycomb, .honeycomb, .none])
    case 13...15:
      (request.method, request.target) = ("POST", one(["/api/1/envelope/", "/api/2/store/", "/api/3/store"]))
      place = one([.sentryAuth, .sentryAuthorization, .sentryQuery, .dsn, .none])
    case 16:
      (request.method, request.target) = ("GET", "/1/auth")
      place = one([.honeycomb, .none])
      served = Expected(status: 200, mark: "account-\(id)")
      keepsBody = false
    case 17:
      (request.method, request.target) = ("POST", "/1/auth")
      place = one([.query, .none])
      served = Expected(status: 200, mark: "{}")
      keepsBody = false
    case 18:
      (request.method, request.target) = ("OPTIONS", "/api/1/store/")
      place = .none
      served = Expected(status: 200, mark: "")
      keepsBody = false
    default:
      request.method = one(["GET", "HEAD", "REPORT", "PUT", "HEAD"])
      request.target = one(["/nowhere", "/v1/push/\(id)", "/1/batch/a/b"])
      place = one([.bearer, .none])
    }
    present(in: place)
    if !keepsBody { key = place == .none ? "" : key }
    request.fields.append(("Idempotency-Key", id))
    request.fields.append(("Content-Type", one(["application/json", "application/x-protobuf", "text/plain"])))
    request.fields.shuffle(using: &generator)

    // What must come of it.
    let bytes = request.body.count
    let isChunked = request.kind == .chunked
    let tooLarge = Expected(status: 413, mark: "\(limits.bodyBytes)", isEarly: true, alwaysCloses: true)
    let nodeFull = Expected(status: 503, mark: "node_full", isEarly: true)
    let final = served ?? (isAccepted && !namesEnvelope ? Expected(status: 200, mark: "", isPushed: true) : pushed)
    let outcome: Expected
    if request.method == "OPTIONS" {
      outcome = final
    } else if !["POST", "GET"].contains(request.method) || request.target == "/nowhere"
      || request.target == "/1/batch/a/b"
      || (request.method == "GET" && served == nil)
    {
      outcome =
        request.target.hasPrefix("/v1/")
        ? Expected(status: 405, mark: "method_not_allowed", isEarly: true)
        : Expected(status: 404, mark: "not_found", isEarly: true)
    } else if place == .none {
      outcome = Expected(status: 400, mark: "missing_key", isEarly: true)
    } else if isKnown {
      outcome = final
    } else {
      outcome = Expected(status: verdict.status, mark: verdict.mark, isEarly: true)
    }
    // A body is charged when its key is admitted.
    let isCharged = keepsBody && bytes > budget && !outcome.isEarly
    let isTooLarge = bytes > limits.bodyBytes
    // Where the key may be in the body, that has to begin to come.
    let isKeyInBody = place == .dsn || place == .none && request.target.hasPrefix("/api/")
    isInvited =
      request.waits
      && (isKeyInBody
        ? isChunked || !isTooLarge : !outcome.isEarly && (isChunked || !isTooLarge && !isCharged))
    if isTooLarge {
      expected =
        isChunked ? [tooLarge, isCharged ? nodeFull : tooLarge, outcome.isEarly ? outcome : tooLarge] : [tooLarge]
    } else {
      expected = [isCharged ? nodeFull : outcome]
    }
  }

  private mutating func planVerdict(
    _ id: String, using generator: inout some RandomNumberGenerator
  ) -> (Expected, isKnown: Bool) {
    let verdict: Verdict
    let expected: Expected
    switch Int.random(in: 0..<10, using: &generator) {
    case 0, 1:
      let reason = RefusalReason.allCases.randomElement(using: &generator)!
      verdict = .refuse(reason, Proof(epoch: "epoch-\(id)", version: 1, asOf: Instant(nanoseconds: 0)))
      expected = Expected(status: reason == .unknownKey ? 401 : 403, mark: "epoch-\(id)")
    case 2:
      let why = [Undecided.noStore, .unsealed, .vanished, .barrierTimedOut].randomElement(using: &generator)!
      verdict = .undecided(why)
      expected = Expected(status: 503, mark: why.code)
    default:
      verdict = .admit(account: "account-\(id)")
      expected = Expected(status: 200, mark: "")
    }
    switch (Int.random(in: 0..<3, using: &generator), verdict) {
    case (0, .admit(let account)): opinion = .admits(account: account)
    case (1, _): opinion = .ponders(verdict)
    default: opinion = .says(verdict)
    }
    return (expected, { if case .admit = verdict { true } else { false } }())
  }

  /// - Returns: What a dialect says that names the envelope; and whether that is what others say differently.
  private mutating func planHandover(
    _ id: String, using generator: inout some RandomNumberGenerator
  ) -> (Expected, isAccepted: Bool) {
    let outcome: ScriptedGate.Outcome
    let expected: Expected
    switch Int.random(in: 0..<8, using: &generator) {
    case 0:
      let why = PushRejection.Unavailable.allCases.randomElement(using: &generator)!
      outcome = .failure(.unavailable(why))
      expected = Expected(status: 503, mark: why.rawValue, isPushed: true)
    case 1:
      let limit = Int.random(in: 1_000_000...9_999_999, using: &generator)
      outcome = .failure(.tooLarge(limit: limit))
      expected = Expected(status: 413, mark: "\(limit)", isPushed: true)
    default:
      let envelope = EnvelopeID(keyID: [], idempotencyKey: id.utf8)
      outcome = .success(envelope)
      expected = Expected(status: 202, mark: "\(envelope)", isPushed: true)
    }
    handover = Bool.random(using: &generator) ? .now(outcome) : .later(outcome)
    return (expected, expected.status == 202)
  }

  private mutating func present(in place: Place) {
    switch place {
    case .bearer: request.fields.append(("Authorization", " Bearer \(key)"))
    case .apiKey: request.fields.append(("x-API-key", " \(key)"))
    case .query: request.target += "?a=b&api_key=\(key)"
    case .honeycomb: request.fields.append(("X-Honeycomb-Team", key))
    case .sentryAuth: request.fields.append(("X-Sentry-Auth", "Sentry sentry_version=7, sentry_key=\(key)"))
    case .sentryAuthorization: request.fields.append(("authorization", "Sentry sentry_key=\(key),sentry_client=x"))
    case .sentryQuery: request.target += "?sentry_key=\(key)"
    case .dsn:
      request.body = Array(#"{"dsn":"https://\#(key)@h/1"}"#.utf8) + [0x0A] + request.body.prefix(100)
      request.framedBody = request.body
      request.kind = .length(request.body.count)
      request.fields.removeAll { ["content-length", "transfer-encoding"].contains($0.name.lowercased()) }
      request.fields.append(("Content-Length", "\(request.body.count)"))
    case .none: break
    }
  }

  /// Scripts the push handler for this request.
  func script(_ gate: ScriptedGate) { gate.script(key, opinion, handover) }
}
