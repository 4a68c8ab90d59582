// Expect: 100-continue. A client that waits for 100 sends its body only when its key is admitted and the node accepts
// the body.

import KeyReplica
import Testing

@testable import IngestNode

@Suite struct InvitationTests {
  @Test func `a client is invited to send its body when its key is admitted`() throws {
    let client = EmbeddedClient()
    client.send(.head("Expect: 100-continue", length: 3))
    #expect(client.stream == Array("HTTP/1.1 100 Continue\r\n\r\n".utf8))
    client.send("abc")
    #expect(try client.statuses() == [100, 202])
    #expect(client.gate.payloads == ["abc"])
  }

  @Test func `not before the verdict`() throws {
    for head in [
      String.head(key: "slow", "Expect: 100-continue", length: 3), .chunkedHead(key: "slow", "Expect: 100-continue"),
    ] {
      let client = EmbeddedClient()
      client.gate.script("slow", .ponders(.admit(account: "late")))
      client.send(head)
      #expect(client.stream.isEmpty)
      client.gateSays()
      #expect(try client.statuses() == [100])
      client.send(head.contains("chunked") ? .chunk("abc") + .chunk() : "abc")
      #expect(try client.statuses() == [100, 202])
      #expect(client.gate.payloads == ["abc"])
    }
  }

  @Test func `who is refused is never invited, and may send or not: the connection closes`() throws {
    for head in [
      String.head(key: "bad", "Expect: 100-continue", length: 3), .chunkedHead(key: "bad", "Expect: 100-continue"),
      .head(to: "/nowhere", "Expect: 100-continue", length: 3), .head(key: nil, "Expect: 100-continue", length: 3),
    ] {
      let client = EmbeddedClient()
      client.gate.script("bad", .ponders(ScriptedGate.unknown))
      client.send(head)
      if head.contains("bad") { client.gateSays() }
      let answer = try client.answer()
      #expect([401, 404, 400].contains(answer.status) && answer.closes)
      client.send("abc" + .post())
      #expect(client.gate.pushes.isEmpty)
      #expect(try client.answers().count == 1)
    }
  }

  @Test func `nor is one that the node has no room for`() throws {
    let client = EmbeddedClient(budget: 2)
    client.send(.head("Expect: 100-continue", length: 3))
    let answer = try client.answer()
    #expect(answer.status == 503 && answer.closes)
  }

  @Test func `HTTP 1.0 isn't invited, and neither is who has nothing to send`() throws {
    let old = EmbeddedClient()
    old.send(
      .request("POST /v1/push HTTP/1.0", ["X-API-Key: good", "Expect: 100-continue", "Content-Length: 3"]))
    #expect(old.stream.isEmpty)
    old.send("abc")
    #expect(try old.statuses() == [202])
    let empty = EmbeddedClient()
    empty.send(.head("Expect: 100-continue", length: 0))
    #expect(try empty.statuses() == [202])
  }

  @Test func `each request on a connection is invited by itself`() throws {
    let client = EmbeddedClient()
    for _ in 0..<3 {
      client.send(.head("Expect: 100-continue", length: 3))
      client.send("abc")
    }
    client.send(.post())
    #expect(try client.statuses() == [100, 202, 100, 202, 100, 202, 202])
  }
}
