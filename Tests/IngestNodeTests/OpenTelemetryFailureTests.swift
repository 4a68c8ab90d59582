// Failures in OTLP: a google.rpc.Status, in protobuf or JSON.

import ClientAddress
import HTTPFraming
import KeyReplica
import Testing

@testable import IngestNode
@testable import Listening

@Suite struct OpenTelemetryFailureTests {
  @Test(arguments: [
    (PushRejection.refused(.unknownKey, ScriptedGate.proof), 16), (.refused(.revokedKey, ScriptedGate.proof), 7),
    (.undecided(.unsealed), 14), (.unavailable(.queueFull), 14), (.tooFast(nil), 8),
    (.tooFast(.serviceUnavailable), 8), (.outcomeUnknown(isRepeatable: false), 14), (.missingKey, 3),
    (.tooLarge(limit: 1), 3), (.notFound, 12),
    (.methodNotAllowed(allow: "POST"), 12), (.unreadable(.tooSlow), 4), (.unreadable(.connectMethod), 12),
    (.unreadable(.headerTooLarge), 3),
  ]) func `a failure is a Status with google's code for it`(failure: PushRejection, code: Int) throws {
    let front = ListenerContext(
      limits: RequestLimits(), deadlines: PhaseDeadlines(), dialects: Dialects.all, counters: AnswerCounters([]),
      stopping: StopFlag(), trusted: .none, batches: BatchCounter { $0() })
    let facts = front.facts(failure, in: Dialects.otlp)
    let words = [facts.error, facts.reason, facts.detail].compactMap { $0 }.joined(separator: ": ")
    let protobuf = try ReadAnswer(front.response(facts, in: Dialects.otlp, .protobuf))
    #expect(protobuf["content-type"] == "application/x-protobuf")
    #expect(try RPCStatus(protobuf.body) == RPCStatus(code: code, message: words))
    let json = try ReadAnswer(front.response(facts, in: Dialects.otlp, .json))
    #expect(json["content-type"] == "application/json")
    #expect(try json.json()["code"] as? Int == code && json.json()["message"] as? String == words)
  }

  @Test(arguments: [0, 50, 127, 128, 300, 16_383, 16_384, 70_000]) func `of any length`(length: Int) throws {
    let facts = AnswerFacts(status: 400, error: String(repeating: "e", count: length))
    #expect(try RPCStatus(Dialects.otlp.failed(facts, .other).body).message.utf8.count == length)
  }
}
