// Failures in Sentry's dialect: in headers of its own, which pages of other sites may read too.

import ClientAddress
import HTTPFraming
import KeyReplica
import Testing

@testable import IngestNode
@testable import Listening

@Suite struct SentryFailureTests {
  private func answer(_ failure: PushRejection) throws -> ReadAnswer {
    let front = ListenerContext(
      limits: RequestLimits(), deadlines: PhaseDeadlines(), dialects: Dialects.all, counters: AnswerCounters([]),
      stopping: StopFlag(), trusted: .none, batches: BatchCounter { $0() })
    return try ReadAnswer(front.response(front.facts(failure, in: Dialects.sentry), in: Dialects.sentry, .other))
  }

  @Test func `a wait is told as Sentry tells it too, and to browsers`() throws {
    let answer = try answer(.unavailable(.queueAway))
    #expect(answer["x-sentry-rate-limits"] == "\(try #require(answer["retry-after"]))::organization")
    #expect(answer["access-control-allow-origin"] == "*")
    let exposed = try #require(answer["access-control-expose-headers"])
    for name in ["x-sentry-error", "x-sentry-rate-limits", "retry-after"] { #expect(exposed.contains(name)) }
    #expect(answer["x-sentry-error"] == "unavailable: queue_away")
    #expect(try answer.json()["detail"] as? String == "unavailable: queue_away")
  }

  @Test func `where there is nothing to wait for no limit is told`() throws {
    let answer = try answer(.refused(.unknownKey, ScriptedGate.proof))
    #expect(answer["x-sentry-rate-limits"] == nil && answer["retry-after"] == nil)
    #expect(answer["x-sentry-error"]?.hasPrefix("unknown_key: proven at version 7 of the key store (epoch e1)") == true)
  }

  @Test func `what can't be in a header line is left out of it, and told in the body`() throws {
    let answer = try answer(.uncountable(EveryFailure.nasty))
    #expect(answer["x-sentry-error"] == "malformed: uncountable_events: \"quoted\", {\\     x-evil: 1\t\u{fc}\u{2028}")
    #expect(try answer.json()["detail"] as? String == "malformed: uncountable_events: \(EveryFailure.nasty)")
  }
}
