// The answers for an accepted payload and for an active key, in each dialect. Some clients check the status, some the
// content type, and some the body.

import Foundation
import HTTPFraming
import IngestQueue
import Testing

@testable import IngestNode

@Suite struct AcceptanceTests {
  private func answer(
    _ dialect: Dialect, _ media: MediaType = .other, events: Int? = nil, id: EnvelopeID = ScriptedGate.id
  ) throws -> ReadAnswer {
    let reply = dialect.accepted(Accepted(id: id, media: media, events: events))
    #expect(reply.template.status == dialect.acceptedStatus, "it is counted as another")
    return try ReadAnswer(reply)
  }

  private func active(_ dialect: Dialect, account: String) throws -> ReadAnswer {
    let reply = dialect.active(account)
    return try ReadAnswer(reply)
  }

  @Test func `generic clients get the envelope's id`() throws {
    let id = EnvelopeID(keyID: [], idempotencyKey: [7])
    let answer = try answer(Dialects.generic, id: id)
    #expect(answer.status == 202 && answer["content-type"] == "application/json")
    #expect(try answer.json()["id"] as? String == "\(id)")
  }

  @Test func `OpenTelemetry's get an empty response of their own type`() throws {
    let json = try answer(Dialects.otlp, .json)
    #expect(json.status == 200 && json["content-type"] == "application/json" && json.text == "{}")
    for media in [MediaType.protobuf, .other, .msgpack] {
      let answer = try answer(Dialects.otlp, media)
      #expect(answer.status == 200 && answer["content-type"] == "application/x-protobuf" && answer.body.isEmpty)
    }
  }

  @Test func `OpenTelemetry's type is the one that it sent`() throws {
    for (sent, answered) in [
      ("application/json", "application/json"), ("Application/JSON; charset=utf-8", "application/json"),
      ("application/x-protobuf", "application/x-protobuf"), ("application/jsonx", "application/x-protobuf"),
    ] {
      let client = EmbeddedClient()
      client.send(.post(to: "/v1/traces", "Content-Type: \(sent)"))
      client.send(.post(to: "/v1/traces", key: "bad", "Content-Type: \(sent)"))
      #expect(try client.answers().map { $0["content-type"] } == [answered, answered])
    }
  }

  @Test func `AppSignal's get exactly 200`() throws {
    let answer = try answer(Dialects.appSignal)
    #expect(answer.status == 200 && answer.text == "{}")
    #expect(try active(Dialects.appSignal, account: "a").status == 200)
  }

  @Test func `Honeycomb's get a status for each event`() throws {
    for count in [0, 1, 3, 1000] {
      let answer = try answer(Dialects.honeycomb, .json, events: count)
      #expect(answer.status == 200 && answer["content-type"] == "application/json")
      let events = try #require(try JSONSerialization.jsonObject(with: Data(answer.body)) as? [[String: Int]])
      #expect(events == Array(repeating: ["status": 202], count: count))
    }
    #expect(try answer(Dialects.honeycomb).text == "{}", "a single event isn't answered one by one")
  }

  @Test func `Honeycomb's are told whose key it is`() throws {
    for account in ["acme", "a \"b\" \\ \n\u{fc}"] {
      let answer = try active(Dialects.honeycomb, account: account)
      let body = try answer.json()
      #expect(answer.status == 200)
      #expect((body["team"] as? [String: String]) == ["name": account, "slug": account])
      #expect((body["api_key_access"] as? [String: Bool]) == ["events": true])
    }
  }

  @Test func `Sentry's get an object, from other sites too`() throws {
    let answer = try answer(Dialects.sentry)
    #expect(answer.status == 200 && answer.text == "{}" && answer["access-control-allow-origin"] == "*")
  }

  @Test func `browsers are told what they may send to Sentry's paths`() throws {
    let answer = try ReadAnswer(Dialects.preflight)
    #expect(answer.status == 200 && answer["access-control-allow-origin"] == "*")
    #expect(answer["access-control-allow-methods"] == "POST")
    let allowed = try #require(answer["access-control-allow-headers"])
    for name in ["x-sentry-auth", "content-type", "content-encoding"] { #expect(allowed.contains(name)) }
    #expect(answer["access-control-max-age"].flatMap { Int($0) } ?? 0 > 0)
  }
}
