// Clients that stop sending, and clients that go away: the first still get their answers, and of the others nothing is
// kept. `EmbeddedClient` looks at the end of each test whether bytes of the budget or the handler itself are still
// held.

import KeyReplica
import NIOCore
import Testing

@testable import IngestNode

@Suite struct DepartureTests {
  /// The bytes that a client has sent before it disconnects.
  private static let unfinished: [String] = [
    "", "POST /v1/pu", .head(length: 10) + "abc", .chunkedHead() + .chunk("abc"),
    .chunkedHead(key: "bad") + .chunk("abc"),
    .head("Expect: 100-continue", length: 3), .head(key: "bad", length: 10), .head(key: "bad", length: 100_000),
    .post("Connection: close"), "nonsense\r\n",
  ]

  @Test(arguments: unfinished) func `of a client that goes away nothing is kept`(sent: String) {
    let client = EmbeddedClient()
    client.send(sent)
    client.reset()
    #expect(!client.isOpen && client.budget.used == 0)
    client.pass(.hours(1))
  }

  @Test func `a verdict that comes too late meets nobody`() {
    for verdict in [Verdict.admit(account: "late"), ScriptedGate.unknown, .undecided(.unsealed)] {
      let client = EmbeddedClient()
      client.gate.script("slow", .ponders(verdict))
      client.send(.post(key: "slow"))
      client.reset()
      #expect(client.budget.used == 0)
      client.gateSays()
      #expect(client.gate.pushes.isEmpty && client.stream.isEmpty)
      #expect(client.counters.byStatus == ["401": 0, "403": 0, "503": 0, "200": 0, "202": 0])
    }
  }

  @Test func `so does an outcome`() {
    for outcome in [ScriptedGate.Outcome.success(ScriptedGate.id), .failure(.unavailable(.queueAway))] {
      let client = EmbeddedClient()
      client.gate.script("good", .admits(account: "acme"), .later(outcome))
      client.send(.post() + .post())
      #expect(client.budget.used == 7)
      client.reset()
      #expect(client.budget.used == 0)
      client.gateSays()
      #expect(client.stream.isEmpty && client.gate.pushes.count == 1, "what came behind it isn't begun")
      #expect(client.counters.byReason == ["accepted": 0])
    }
  }

  @Test func `a client that goes away while it is told its last answer is gone`() {
    let client = EmbeddedClient()
    client.stopReading()
    client.send(.post("Connection: close"))
    #expect(!client.outputIsClosed)
    client.reset()
    #expect(!client.isOpen)
  }
}
