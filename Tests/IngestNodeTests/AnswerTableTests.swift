// Every reason for which a payload isn't accepted, in every dialect. The statuses are listed here a second time on
// purpose: an unintended change of the table would change what clients do with their data.

import ClientAddress
import Foundation
import HTTPFraming
import KeyReplica
import Testing

@testable import IngestNode
@testable import Listening

@Suite struct AnswerTableTests {
  private static let front = ListenerContext(
    limits: RequestLimits(), deadlines: PhaseDeadlines(), dialects: Dialects.all,
    counters: AnswerCounters(Dialects.all),
    stopping: StopFlag(), trusted: .none, batches: BatchCounter { $0() })

  /// What a failure must be answered with.
  private static func status(_ failure: PushRejection, in dialect: Dialect) -> Int {
    switch failure {
    case .refused(.unknownKey, _): 401
    case .refused(.suspendedKey, _), .refused(.revokedKey, _), .refused(.expiredKey, _): 403
    case .undecided, .unavailable, .overLimit, .outcomeUnknown(isRepeatable: true): 503
    case .outcomeUnknown(isRepeatable: false):
      ["generic": 504, "otlp": 504, "appsignal": 500, "honeycomb": 429, "sentry": 504][dialect.name, default: 0]
    case .tooFast(nil), .accountOverLimit, .accountSlowsRedis, .tooManyRetries, .tooManyDeadLetters:
      ["generic": 429, "otlp": 504, "appsignal": 500, "honeycomb": 429, "sentry": 429][dialect.name, default: 0]
    case .tooFast(let chosen?): chosen.rawValue
    case .missingKey, .keyTooLong, .uncountable: 400
    case .notFound: 404
    case .methodNotAllowed: 405
    case .tooLarge: 413
    case .unreadable(let refusal): refusal.status
    }
  }

  @Test func `all of them are there`() {
    #expect(EveryFailure.undecided.count == 17 && Set(EveryFailure.undecided.map(\.code)).count == 17)
    #expect(
      EveryFailure.all.count == RefusalReason.allCases.count + 17 + PushRejection.Unavailable.allCases.count
        + 1 + 1 + 1 + 1 + 2 + 5 + 1 + 1 + 2 + 1 + 1 + 1 + 1 + ProtocolError.allCases.count)
  }

  @Test(arguments: Dialects.all.map(\.name)) func `every failure has its status, whoever hears it`(name: String) throws
  {
    let dialect = try #require(Dialects.all.first { $0.name == name })
    for failure in EveryFailure.all {
      for media in [MediaType.json, .protobuf, .msgpack, .other] {
        let facts = Self.front.facts(failure, in: dialect)
        let answer = try ReadAnswer(Self.front.response(facts, in: dialect, media))
        #expect(answer.status == Self.status(failure, in: dialect), "\(failure)")
        #expect(![402, 406].contains(answer.status))
        // Unless an operator has chosen otherwise, AppSignal's agents never hear what ends them, and OTLP's exporters
        // nothing on which some of them drop their data.
        if case .tooFast(_?) = failure {
        } else {
          #expect(name != "appsignal" || answer.status != 429, "\(failure)")
          #expect(name != "otlp" || ![429, 500].contains(answer.status), "\(failure)")
        }

        let retry = answer["retry-after"].flatMap { Int($0) }
        // The queue says itself when it has drained.
        let waits =
          switch failure {
          case .overLimit(let seconds), .accountOverLimit(let seconds), .accountSlowsRedis(let seconds),
            .tooManyRetries(let seconds), .tooManyDeadLetters(let seconds):
            seconds...seconds
          default: 1...5
          }
        let isLater = AnswerTable.mayBeAskedElsewhere(failure) != nil
        #expect(isLater ? waits.contains(retry ?? 0) : retry == nil, "\(failure)")
        #expect((answer["www-authenticate"] == "Bearer") == (answer.status == 401), "\(failure)")
        #expect((answer["allow"] == "GET, POST") == (answer.status == 405), "\(failure)")
        #expect(answer.fields.allSatisfy { !$0.name.hasPrefix("x-evil") }, "\(failure)")
        #expect(Set(answer.fields.map(\.name)).count == answer.fields.count, "\(failure)")
        switch answer["content-type"] {
        case "application/json": _ = try answer.json()
        case "application/x-protobuf":
          let message = try RPCStatus(answer.body).message
          #expect(message.hasPrefix(facts.error), "\(failure)")
        default: Issue.record("\(answer["content-type"] ?? "no type") for \(failure)")
        }
      }
    }
  }

  /// HAProxy's `retry-on`, nginx's `proxy_next_upstream` and meshes go by the status.
  @Test(arguments: Dialects.all.map(\.name))
  func `503 is what another node may be asked after, and nothing else is`(name: String) throws {
    let dialect = try #require(Dialects.all.first { $0.name == name })
    var counts = [true: 0, false: 0]
    for failure in EveryFailure.all {
      if case .tooFast(_?) = failure { continue }  // The operator's choice.
      let mayBeAsked = AnswerTable.mayBeAskedElsewhere(failure) == true
      #expect((Self.front.facts(failure, in: dialect).status == 503) == mayBeAsked, "\(failure)")
      counts[mayBeAsked, default: 0] += 1
    }
    #expect(AnswerTable.mayBeAskedElsewhere(.tooFast(nil)) == false)
    #expect(AnswerTable.mayBeAskedElsewhere(.outcomeUnknown(isRepeatable: false)) == false)
    #expect(counts.values.allSatisfy { $0 > 10 })
  }

  @Test(arguments: [Dialects.generic, Dialects.appSignal, Dialects.honeycomb].map(\.name))
  func `in plain JSON a failure has its name, its reason and what proves it`(name: String) throws {
    let dialect = try #require(Dialects.all.first { $0.name == name })
    func body(_ failure: PushRejection) throws -> [String: Any] {
      try ReadAnswer(Self.front.response(Self.front.facts(failure, in: dialect), in: dialect, .json)).json()
    }
    let refused = try body(
      .refused(.revokedKey, Proof(epoch: EveryFailure.nasty, version: .max, asOf: Instant(nanoseconds: 0))))
    let proof = try #require(refused["proof"] as? [String: Any])
    #expect(refused["error"] as? String == "revoked_key")
    #expect(proof["epoch"] as? String == EveryFailure.nasty && proof["version"] as? UInt64 == .max)
    #expect((proof["as_of"] as? String)?.hasSuffix("Z") == true)
    #expect(proof["source_as_of"] == nil)
    let marked = try body(
      .refused(
        .unknownKey,
        Proof(epoch: "e", version: 1, asOf: Instant(nanoseconds: 0), sourceAsOf: 1_700_000_000_123_456)))
    #expect((marked["proof"] as? [String: Any])?["source_as_of"] as? String == "2023-11-14T22:13:20.123Z")
    let undecided = try body(.undecided(.diverged(EveryFailure.nasty)))
    #expect(undecided["error"] as? String == "undecided" && undecided["reason"] as? String == "diverged")
    let uncountable = try body(.uncountable(EveryFailure.nasty))
    #expect(uncountable["error"] as? String == "malformed" && uncountable["detail"] as? String == EveryFailure.nasty)
    #expect(try body(.tooLarge(limit: 12_345))["limit"] as? Int == 12_345)
    let unreadable = try body(.unreadable(.bareLineFeed))
    #expect(
      unreadable["reason"] as? String == "bare_line_feed"
        && unreadable["detail"] as? String == ProtocolError.bareLineFeed.reason)
  }

  @Test func `what the store says of itself is for the operators, and not for whoever sends`() throws {
    for failure in EveryFailure.all {
      guard case .undecided(let why) = failure else { continue }
      for dialect in Dialects.all {
        let answer = try ReadAnswer(Self.front.response(Self.front.facts(failure, in: dialect), in: dialect, .other))
        #expect(answer.text.contains(why.code) && !answer.text.contains("quoted"))
      }
    }
  }

  @Test func `a wait isn't the same for everybody`() {
    let waits = Set(
      (0..<200).compactMap { _ in Self.front.facts(.unavailable(.queueFull), in: Dialects.generic).retryAfter })
    #expect(waits == [1, 2, 3, 4, 5])
  }

  @Test func `of a queue over its limit the wait is what was reckoned, and not drawn`() {
    let facts = Self.front.facts(.overLimit(retryAfter: 17), in: Dialects.generic)
    #expect(facts.retryAfter == 17)
    #expect(facts.reason == "queue_over_limit" && facts.label == "queue_over_limit")
  }

  @Test func `each limit of an account has a reason and a text of its own`() {
    let failures: [PushRejection] = [
      .tooFast(nil), .accountOverLimit(retryAfter: 1), .accountSlowsRedis(retryAfter: 1),
      .tooManyRetries(retryAfter: 1), .tooManyDeadLetters(retryAfter: 1),
    ]
    let facts = failures.map { Self.front.facts($0, in: Dialects.generic) }
    #expect(
      facts.map(\.label) == [
        "too_fast", "account_over_limit", "large_payloads_too_fast", "too_many_retries", "too_many_dead_letters",
      ])
    #expect(Set(facts.map(\.detail)).count == failures.count)
    #expect(facts.filter { $0.detail?.contains("nearly full") ?? false }.map(\.reason) == ["account_over_limit"])
  }

  @Test func `a proof's moment is told as a date`() {
    let facts = AnswerTable.facts(
      .refused(.unknownKey, Proof(epoch: "e", version: 3, asOf: Instant(nanoseconds: 5_500_000_000))),
      unrepeated: Dialects.generic.unrepeated,
      wallTime: { Date(timeIntervalSince1970: Double($0.nanoseconds) / 1e9) }, retryAfter: { 1 })
    #expect(facts.proof?.asOf == "1970-01-01T00:00:05.500Z")
    #expect(facts.detail == "proven at version 3 of the key store (epoch e), read at 1970-01-01T00:00:05.500Z")
  }
}
