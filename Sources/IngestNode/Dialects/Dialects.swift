// All dialects, each with its routes, the places of its key, and its wording. The requests that real clients send, and
// their reactions to answers, are from their source code.

internal import Bytes
internal import Foundation
internal import HTTPFraming
internal import IngestQueue
internal import KeyReplica

enum Dialects {
  /// In the order in which their routes are compared. `generic` matches the paths that no other dialect has.
  static let all: [Dialect] = [otlp, appSignal, honeycomb, sentry, generic]

  /// The places of a key in requests of clients that can send any header.
  private static let anywhere: [KeyPlace] = [.bearer, .header("x-api-key"), .query("api_key")]

  // MARK: generic

  static let generic = Dialect(
    name: "generic", routes: [.push("/v1/**")], keys: anywhere,
    acceptedStatus: 202,
    accepted: { Reply(template: taken, body: .id($0.id)) },
    // 429 and 504 are the statuses with these meanings. Clients that retry at all do so after both. No load balancer
    // asks another node after 429, and the recommended ones don't after 504.
    unrepeated: UnrepeatedStatuses(tooFast: .tooManyRequests, outcomeUnknown: 504),
    failed: { facts, _ in AnswerBody("application/json", genericBody(facts)) })

  private static let taken = AnswerBody("application/json", "{}").response(status: 202)

  private static func genericBody(_ facts: AnswerFacts) -> String {
    var members = [#""error":"\#(facts.error)""#]
    if let reason = facts.reason { members.append(#""reason":"\#(reason)""#) }
    if let (proof, asOf, sourceAsOf) = facts.proof {
      let source = sourceAsOf.map { #","source_as_of":"\#($0)""# } ?? ""
      members.append(
        #""proof":{"epoch":\#(json(proof.epoch)),"version":\#(proof.version),"as_of":"\#(asOf)"\#(source)}"#)
    } else if let detail = facts.detail {
      members.append(#""detail":\#(json(detail))"#)
    }
    if let limit = facts.limit { members.append(#""limit":\#(limit)"#) }
    return "{\(members.joined(separator: ","))}"
  }

  // MARK: OpenTelemetry

  /// OTLP/HTTP 1.x: an answer has the request's content type, and an error is a `google.rpc.Status`.
  static let otlp = Dialect(
    name: "otlp", routes: [.push("/v1/traces"), .push("/v1/metrics"), .push("/v1/logs")], keys: anywhere,
    acceptedStatus: 200,
    accepted: { accepted in Reply(template: accepted.media == .json ? otlpTakenJSON : otlpTaken) },
    // Exporters retry 429, 502, 503 and 504, but Python's exporter drops its data on 429. Of 502 and 504, load
    // balancers repeat 502 more often.
    unrepeated: UnrepeatedStatuses(tooFast: .gatewayTimeout, outcomeUnknown: 504),
    failed: { facts, media in
      let code = rpcCode(facts)
      let message = [facts.error, facts.reason, facts.detail].compactMap { $0 }.joined(separator: ": ")
      return media == .json
        ? AnswerBody("application/json", #"{"code":\#(code),"message":\#(json(message))}"#)
        : AnswerBody("application/x-protobuf", rpcStatus(code: code, message: message))
    })

  /// An empty `ExportTraceServiceResponse`, or the same for metrics and logs: everything was accepted.
  private static let otlpTaken = AnswerBody("application/x-protobuf", []).response(status: 200)
  private static let otlpTakenJSON = AnswerBody("application/json", "{}").response(status: 200)

  /// Numbers of google.rpc.Code.
  private static func rpcCode(_ facts: AnswerFacts) -> UInt8 {
    // The status makes exporters retry. The code here states the reason.
    if facts.error == "too_fast" { return 8 }  // RESOURCE_EXHAUSTED
    return switch facts.status {
    case 401: 16  // UNAUTHENTICATED
    case 403: 7  // PERMISSION_DENIED
    case 404, 405, 501, 505: 12  // UNIMPLEMENTED
    case 408: 4  // DEADLINE_EXCEEDED
    case 503, 504: 14  // UNAVAILABLE
    default: 3  // INVALID_ARGUMENT
    }
  }

  /// `google.rpc.Status { int32 code = 1; string message = 2; }`: two fields, too few for a protobuf library.
  private static func rpcStatus(code: UInt8, message: String) -> [UInt8] {
    var bytes: [UInt8] = [0x08, code, 0x12]
    var length = message.utf8.count
    while length >= 0x80 {
      bytes.append(UInt8(length & 0x7F) | 0x80)
      length >>= 7
    }
    return bytes + [UInt8(length)] + Array(message.utf8)
  }

  // MARK: AppSignal

  /// The agents 0.10 to 0.12 (Ruby). Only 200 is success for them: a payload that is answered 202 is sent again.
  static let appSignal = Dialect(
    name: "appsignal",
    routes: [.push("/1/log_entries"), .push("/1/markers"), .probe(.post, "/1/auth")], keys: [.query("api_key")],
    acceptedStatus: 200,
    accepted: { _ in Reply.empty },
    // 429 shuts the agents down. They treat 500 like 503: 0.11 keeps the payload and sends it again.
    unrepeated: UnrepeatedStatuses(tooFast: .internalServerError, outcomeUnknown: 500),
    failed: { facts, _ in AnswerBody("application/json", genericBody(facts)) })

  // MARK: Honeycomb

  /// libhoney in all its languages. A batch is answered with a status for each event.
  static let honeycomb = Dialect(
    name: "honeycomb",
    routes: [.batch("/1/batch/*"), .push("/1/events/*"), .probe(.get, "/1/auth")], keys: [.header("x-honeycomb-team")],
    acceptedStatus: 200,
    accepted: { accepted in
      guard let events = accepted.events else { return Reply.empty }
      var body: [UInt8] = [UInt8(ascii: "[")]
      body.reserveCapacity(1 + max(1, events * eventTaken.count))
      for _ in 0..<events { body += eventTaken }
      // Removes the last comma.
      if events > 0 { body.removeLast() }
      return Reply(template: honeycombTaken, body: .bytes(body + [UInt8(ascii: "]")]))
    },
    answerBytesPerEvent: eventTaken.count,
    active: { account in
      let body = #"{"api_key_access":{"events":true},"team":{"name":\#(json(account)),"slug":\#(json(account))}}"#
      return Reply(template: Reply.empty.template, body: .bytes(Array(body.utf8)))
    },
    // libhoney retries once after 429 and 503, and drops its events after all other errors.
    unrepeated: UnrepeatedStatuses(tooFast: .tooManyRequests, outcomeUnknown: 429),
    failed: { facts, _ in AnswerBody("application/json", genericBody(facts)) })

  private static let eventTaken = Array(#"{"status":202},"#.utf8)
  private static let honeycombTaken = AnswerBody("application/json", "[]").response(status: 200)

  // MARK: Sentry

  /// The SDKs' envelope and store endpoints, from servers and from browsers.
  static let sentry = Dialect(
    name: "sentry",
    routes: [
      .push("/api/*/envelope/"), .push("/api/*/store/"), .push("/api/*/envelope"), .push("/api/*/store"),
      .preflight("/api/*/envelope/"), .preflight("/api/*/store/"),
    ],
    keys: [.sentryAuth("x-sentry-auth"), .sentryAuth("authorization"), .query("sentry_key"), .envelopeDSN],
    acceptedStatus: 200,
    accepted: { _ in Reply(template: sentryTaken) },
    // SDKs back off on 429. They drop an event on 429 and 504, and on all other errors.
    unrepeated: UnrepeatedStatuses(tooFast: .tooManyRequests, outcomeUnknown: 504),
    failed: { facts, _ in
      var fields = browsers
      // Applies to all categories of the whole organisation. Clients obey this header with any status, and more clients
      // obey it than obey Retry-After.
      if let seconds = facts.retryAfter { fields.append(("x-sentry-rate-limits", "\(seconds)::organization")) }
      let words = [facts.error, facts.reason, facts.detail].compactMap { $0 }.joined(separator: ": ")
      return AnswerBody(
        "application/json", #"{"detail":\#(json(words))}"#, fields: fields + [("x-sentry-error", line(words))])
    })

  private static let sentryTaken = AnswerBody("application/json", "{}", fields: browsers).response(status: 200)

  /// Pages of any site send to Sentry's endpoints. Without these headers their browsers hide the answer from the page.
  private static let browsers = [
    (name: "access-control-allow-origin", value: "*"),
    (name: "access-control-expose-headers", value: "x-sentry-error,x-sentry-rate-limits,retry-after"),
  ]

  /// The answer that a browser needs before it sends a header of the page's own.
  static let preflight = AnswerBody(
    "text/plain", [],
    fields: browsers + [
      ("access-control-allow-methods", "POST"),
      ("access-control-allow-headers", "x-sentry-auth,authorization,content-type,content-encoding,x-api-key"),
      ("access-control-max-age", "86400"),
    ]
  ).response(status: 200)

  // MARK: Wording

  /// Makes a text valid for a header line.
  private static func line(_ text: String) -> String {
    var written = ""
    for scalar in text.unicodeScalars {
      written.unicodeScalars.append((scalar.value < 0x20 && scalar != "\t") || scalar.value == 0x7F ? " " : scalar)
    }
    return written
  }

  /// A text as a JSON string.
  private static func json(_ text: String) -> String {
    var written = "\""
    for scalar in text.unicodeScalars {
      switch scalar {
      case "\"": written += "\\\""
      case "\\": written += "\\\\"
      case _ where scalar.value < 0x20:
        written += "\\u" + UInt16(scalar.value).hexDigits()
      default: written.unicodeScalars.append(scalar)
      }
    }
    return written + "\""
  }
}
