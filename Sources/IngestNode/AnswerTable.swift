// Every status that the push listener can answer, and why. Nothing else in Sluice decides on a status.
//
// | status | when | why this one |
// |---|---|---|
// | 202 | Redis has the payload | taken, and not looked at yet |
// | 400 | no key, or no sense | sending it again won't help |
// | 401 | the key is proven unknown | clients shut themselves down on it, so it needs its proof |
// | 403 | the key is proven suspended or revoked | the same |
// | 404, 405 | not a path or method of ours | a mistake in the client's settings |
// | 413 | larger than the limit | sending it again won't help |
// | 503 | everything else | the one answer that is safe with every client: it keeps the payload or loses that one, and goes on |
//
// 500 makes some exporters drop their data, and 429 ends some old agents, so neither is ever used.

internal import Foundation
internal import KeyReplica

/// An answer in the terms of HTTP.
struct RenderedAnswer {
  var status: Int
  /// The reason's short name: a label of the metrics.
  var reason: String
  var body: String
  /// In seconds.
  var retryAfter: Int?
}

enum AnswerTable {
  /// - Parameters:
  ///   - wallTime: Turns the machine's monotonic moments into dates.
  ///   - retryAfter: Where to draw the wait from that clients are asked for; spread out, so that they don't come back as one.
  static func render(
    _ answer: PushAnswer, wallTime: (Instant) -> Date, retryAfter: () -> Int
  ) -> RenderedAnswer {
    switch answer {
    case .accepted(let id):
      return RenderedAnswer(status: 202, reason: "accepted", body: #"{"id":"\#(id)"}"#)
    case .refused(let reason, let proof):
      let asOf = wallTime(proof.asOf).formatted(Date.ISO8601FormatStyle(includingFractionalSeconds: true))
      return RenderedAnswer(
        status: reason == .unknownKey ? 401 : 403, reason: reason.rawValue,
        body:
          #"{"error":"\#(reason.rawValue)","proof":{"epoch":"\#(proof.epoch)","version":\#(proof.version),"as_of":"\#(asOf)"}}"#
      )
    case .undecided(let why):
      return RenderedAnswer(
        status: 503, reason: why.code, body: #"{"error":"undecided","reason":"\#(why.code)"}"#, retryAfter: retryAfter()
      )
    case .unavailable(let why):
      return RenderedAnswer(
        status: 503, reason: why.rawValue, body: #"{"error":"unavailable","reason":"\#(why.rawValue)"}"#,
        retryAfter: retryAfter())
    case .malformed(let why):
      let status =
        switch why {
        case .missingKey: 400
        case .notFound: 404
        case .methodNotAllowed: 405
        }
      return RenderedAnswer(status: status, reason: why.rawValue, body: #"{"error":"\#(why.rawValue)"}"#)
    case .tooLarge(let limit):
      return RenderedAnswer(status: 413, reason: "too_large", body: #"{"error":"too_large","limit":\#(limit)}"#)
    }
  }

  /// All pairs of status and reason that can come, for counters that exist before they count.
  static let statuses = [202, 400, 401, 403, 404, 405, 413, 503]
}
