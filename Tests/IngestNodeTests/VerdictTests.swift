// From the key to the queue: which part is asked at which time, and the result of each answer.

import Foundation
import IngestQueue
import KeyReplica
import NIOCore
import Testing

@testable import IngestNode

@Suite struct VerdictTests {
  @Test func `a payload whose key is admitted is handed over without asking anybody`() throws {
    let client = EmbeddedClient()
    client.send(
      .post(
        to: "/v1/push/a%20b?api_key=other&x=1", "Content-Type: text/plain; charset=utf-8", "content-encoding: gzip",
        "TraceParent: 00-1-2-01", "Idempotency-Key: \u{e9}1", body: "payload"))
    let push = try #require(client.gate.pushes.first)
    #expect(client.gate.pushes.count == 1 && client.gate.asked.isEmpty)
    #expect(push.key == KeyID(secret: "good".utf8))
    #expect(push.account == "acme")
    // The query may hold a key.
    #expect(
      push.request.members.text
        == #","content_type":"text/plain; charset=utf-8","content_encoding":"gzip","path":"/v1/push/a%20b""#
        + #","traceparent":"00-1-2-01""#)
    #expect(push.request.idempotencyKey == Array("\u{e9}1".utf8))
    #expect(String(buffer: push.request.body) == "payload")
    let answer = try client.answer()
    #expect(answer.status == 202 && answer.text == #"{"id":"\#(ScriptedGate.id)"}"#)
    #expect(answer["content-type"] == "application/json" && answer["connection"] == nil)
    #expect(client.isOpen && client.budget.used == 0)
  }

  @Test func `what a request doesn't say isn't made up`() throws {
    let client = EmbeddedClient()
    client.send(.request("POST /v1/push HTTP/1.1", ["X-API-Key: good", "Idempotency-Key: "]))
    let request = try #require(client.gate.pushes.first).request
    #expect(request.members.text == #","path":"/v1/push""#)
    #expect(request.idempotencyKey == nil && request.body.readableBytes == 0)
    #expect(try client.statuses() == [202])
  }

  @Test func `a body that comes in pieces is handed over whole`() throws {
    for head in [String.head(length: 9), .chunkedHead()] {
      let client = EmbeddedClient()
      let isChunked = head.contains("chunked")
      client.send(head)
      for piece in ["abc", "def", "ghi"] { client.send(isChunked ? .chunk(piece) : piece) }
      if isChunked { client.send(.chunk()) }
      #expect(client.gate.payloads == ["abcdefghi"])
      #expect(try client.statuses() == [202])
    }
  }

  @Test func `a verdict is awaited before the body is looked at`() throws {
    let client = EmbeddedClient()
    client.gate.script("slow", .ponders(.admit(account: "late")))
    client.send(.head(key: "slow", length: 7))
    #expect(client.gate.asked == [KeyID(secret: "slow".utf8)] && client.gate.unsaid == 1)
    client.send("payload")
    #expect(client.gate.pushes.isEmpty && client.stream.isEmpty)
    client.gateSays()
    #expect(client.gate.payloads == ["payload"] && client.gate.pushes.map(\.account) == ["late"])
    #expect(client.gate.asked.count == 1)
    #expect(try client.statuses() == [202])
  }

  @Test func `a verdict may be there at once, or come before the body`() throws {
    let client = EmbeddedClient()
    client.gate.script("now", .says(.admit(account: "a")))
    client.send(.post(key: "now"))
    client.gate.script("slow", .ponders(.admit(account: "b")))
    client.send(.head(key: "slow", length: 3))
    client.gateSays()
    #expect(client.gate.pushes.count == 1)
    client.send("abc")
    #expect(client.gate.payloads == ["payload", "abc"] && client.gate.pushes.map(\.account) == ["a", "b"])
    #expect(try client.statuses() == [202, 202])
  }

  @Test(arguments: RefusalReason.allCases)
  func `a refusal comes with its proof, before the body`(reason: RefusalReason) throws {
    let client = EmbeddedClient()
    client.gate.script("bad", .ponders(.refuse(reason, ScriptedGate.proof)))
    client.send(.head(key: "bad", length: 10))
    #expect(client.stream.isEmpty)
    client.gateSays()
    let answer = try client.answer()
    #expect(answer.status == (reason == .unknownKey ? 401 : 403))
    #expect((answer["www-authenticate"] == "Bearer") == (answer.status == 401))
    #expect(answer["retry-after"] == nil)
    let body = try answer.json()
    let proof = try #require(body["proof"] as? [String: Any])
    #expect(body["error"] as? String == reason.rawValue)
    #expect(proof["epoch"] as? String == "e1" && proof["version"] as? Int == 7)
    #expect(
      try Date(#require(proof["as_of"] as? String), strategy: Date.ISO8601FormatStyle(includingFractionalSeconds: true))
        < .now)
    client.send(.filler(10))
    #expect(client.gate.pushes.isEmpty && client.isOpen)
  }

  @Test func `what can't be decided is never a refusal`() throws {
    let client = EmbeddedClient()
    client.gate.script("odd", .ponders(.undecided(.loading(verified: 1, total: 2))))
    client.send(.post(key: "odd"))
    client.gateSays()
    let answer = try client.answer()
    #expect(answer.status == 503 && answer["retry-after"].flatMap { Int($0) } != nil)
    #expect(try answer.json()["reason"] as? String == "loading")
    #expect(client.gate.pushes.isEmpty)
  }

  @Test(arguments: PushRejection.Unavailable.allCases)
  func `a payload that can't be handed over is answered 503`(why: PushRejection.Unavailable) throws {
    for handover in [ScriptedGate.PendingEnqueue.now(.failure(.unavailable(why))), .later(.failure(.unavailable(why)))]
    {
      let client = EmbeddedClient()
      client.gate.script("good", .admits(account: "acme"), handover)
      client.send(.post())
      if case .later = handover {
        #expect(client.stream.isEmpty && client.budget.used == 7)
        client.gateSays()
      }
      let answer = try client.answer()
      #expect(answer.status == 503 && answer["retry-after"].flatMap { Int($0) } != nil)
      #expect(try answer.json()["reason"] as? String == why.rawValue)
      #expect(client.isOpen && client.budget.used == 0)
    }
  }

  @Test func `the gate may find that an account sends too fast, or that a payload is too large`() throws {
    for (failing, status) in [
      (PushRejection.tooFast(nil), 429), (.tooFast(.serviceUnavailable), 503), (.tooLarge(limit: 3), 413),
    ] {
      let client = EmbeddedClient()
      client.gate.script("good", .admits(account: "acme"), .later(.failure(failing)))
      client.send(.post())
      client.gateSays()
      #expect(try client.statuses() == [status])
      #expect(client.isOpen, "the request was read to its end")
    }
  }

  @Test func `without a key nobody is asked`() throws {
    let client = EmbeddedClient()
    client.send(.post(key: nil))
    let answer = try client.answer()
    #expect(answer.status == 400 && client.gate.asked.isEmpty && client.gate.pushes.isEmpty)
    #expect(try answer.json()["error"] as? String == "missing_key")
  }

  @Test func `what only asks for the key is answered by the verdict, and its body is nobody's`() throws {
    let client = EmbeddedClient()
    client.gate.script("slow", .ponders(.admit(account: "late")))
    client.send(.post(to: "/1/auth?api_key=good", key: nil, body: "{}"))
    client.send(.post(to: "/1/auth?api_key=bad", key: nil, body: "{}"))
    client.send(.post(to: "/1/auth?api_key=slow", key: nil, body: "{}"))
    client.gateSays()
    #expect(try client.statuses() == [200, 401, 200])
    #expect(client.gate.pushes.isEmpty)
  }

  @Test func `answers are counted by what they say`() throws {
    let client = EmbeddedClient()
    client.gate.script("odd", .says(.undecided(.unsealed)))
    for key in ["good", "good", "bad", "odd"] { client.send(.post(key: key)) }
    client.send(.post(to: "/1/auth?api_key=good", key: nil))
    client.send("nonsense\r\n\r\n")
    #expect(client.counters.byStatus == ["200": 1, "202": 2, "400": 1, "401": 1, "403": 0, "503": 1])
    #expect(
      client.counters.byReason == [
        "accepted": 2, "active": 1, "unknown_key": 1, "unsealed": 1, "malformed_request_line": 1,
      ])
    #expect(
      client.counters.byOutcome
        == AnswerOutcomes(taken: 2, refused: 1, undecided: ["unsealed": 1], invalid: 1))
  }
}
