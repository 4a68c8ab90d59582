// The bytes of bodies that an event loop holds, and of answers that grow with what was asked: what is beyond them is
// answered 503, and each way in which a request can end gives its own back.

import HTTPFraming
import KeyReplica
import NIOCore
import Testing

@testable import IngestNode

@Suite struct ByteBudgetTests {
  @Test func `it takes up to its limit and no byte more`() {
    let budget = ByteBudget(limit: 10)
    #expect(budget.take(10) && budget.used == 10)
    #expect(!budget.take(1) && budget.take(0) && budget.used == 10)
    #expect(budget.hasRoom(for: 0) && !budget.hasRoom(for: 1))
    budget.give(back: 4)
    #expect(!budget.take(5) && budget.take(4) && budget.used == 10)
    budget.give(back: 10)
    #expect(!budget.take(.max) && budget.used == 0)
  }

  @Test func `a body that there is no room for is answered 503, and the connection goes on`() throws {
    let client = EmbeddedClient(budget: 10)
    client.send(.post(body: .filler(11)))
    let answer = try client.answer()
    #expect(answer.status == 503 && answer["retry-after"] != nil && !answer.closes)
    #expect(try answer.json()["reason"] as? String == "node_full")
    client.send(.post(body: .filler(10)))
    #expect(try client.statuses() == [503, 202])
  }

  @Test func `a body in chunks is answered so when it has grown too large`() throws {
    let client = EmbeddedClient(budget: 10)
    client.send(.chunkedHead() + .chunk(.filler(10)))
    #expect(client.budget.used == 10)
    client.send(.chunk("x"))
    #expect(client.budget.used == 0 && client.stream.isEmpty)
    client.send(.chunk("x") + .chunk() + .post())
    #expect(try client.statuses() == [503, 202])
    #expect(client.gate.pushes.count == 1)
  }

  @Test func `what others hold there is no room for`() throws {
    let client = EmbeddedClient(budget: 10)
    #expect(client.budget.take(4))
    client.send(.post())
    #expect(try client.statuses() == [503])
    client.budget.give(back: 4)
    client.send(.post())
    #expect(try client.statuses() == [503, 202])
  }

  @Test func `what is announced and doesn't come holds nothing`() throws {
    let client = EmbeddedClient(budget: 100)
    client.send(.head(length: 100))
    #expect(client.budget.used == 0, "one key could keep everybody out with a few heads")
    client.send(.filler(30))
    #expect(client.budget.used == 30)
  }

  @Test(arguments: [1, 40, 70])
  func `where room runs out in the midst of a body it is told so, and the connection goes on`(
    part: Int
  ) throws {
    let client = EmbeddedClient(budget: 100)
    client.send(.head(length: 100) + .filler(30))
    // Somebody else's body has come meanwhile.
    #expect(client.budget.take(70) && client.stream.isEmpty)
    client.send(.filler(part))
    let answer = try client.answer()
    #expect(answer.status == 503 && answer["retry-after"] != nil && !answer.closes)
    #expect(try answer.json()["reason"] as? String == "node_full")
    #expect(client.budget.used == 70, "what had come is let go of")
    // The rest, and a request that isn't a part of it.
    client.send(.filler(70 - part) + .post(body: .filler(30)))
    #expect(try client.statuses() == [503, 202])
    #expect(client.gate.payloads == [.filler(30)])
    client.budget.give(back: 70)
  }

  @Test func `where much is still to come then, the connection ends`() throws {
    let client = EmbeddedClient(limits: RequestLimits(drainBytes: 20), budget: 100)
    client.send(.head(length: 100) + .filler(30))
    #expect(client.budget.take(60))
    client.send(.filler(49))
    let answer = try client.answer()
    #expect(answer.status == 503 && answer.closes && client.outputIsClosed)
    client.send(.filler(21) + .post())
    #expect(try client.statuses() == [503])
    #expect(client.gate.pushes.isEmpty)
    client.budget.give(back: 60)
  }

  /// Of 9 bytes, with an answer of 15 for each of 4 events.
  private static let batch = String.post(
    to: "/1/batch/set", key: nil, "X-Honeycomb-Team: good", "Content-Type: application/json", body: "[1,2,3,4]")

  @Test func `the answer to a batch holds its bytes until the kernel has it`() throws {
    let client = EmbeddedClient(budget: 9 + 4 * 15)
    client.gate.script("good", .admits(account: "acme"), .later(.success(ScriptedGate.id)))
    client.stopReading()
    client.send(Self.batch)
    #expect(client.budget.used == 69)
    client.gateSays()
    #expect(client.budget.used == 60, "it waits for the client")
    // The next one's finds no room, and its payload isn't taken.
    client.send(Self.batch)
    #expect(client.gate.pushes.count == 1 && client.budget.used == 60)
    client.readAgain()
    #expect(client.budget.used == 0)
    client.send(Self.batch)
    client.gateSays()
    #expect(try client.statuses() == [200, 503, 200])
    #expect(try client.answers()[1].json()["reason"] as? String == "node_full")
  }

  @Test func `an answer that nobody reads gives its bytes back with its connection`() throws {
    let client = EmbeddedClient()
    client.stopReading()
    client.send(Self.batch)
    #expect(client.budget.used == 60)
    client.reset()
    #expect(client.budget.used == 0)
  }

  @Test func `no answer to a batch is longer than what is held for it`() throws {
    for dialect in Dialects.all {
      for events in [0, 1, 10_000] {
        let answer = try ReadAnswer(dialect.accepted(Accepted(id: ScriptedGate.id, media: .json, events: events)))
        #expect(answer.body.count <= 64 + events * dialect.answerBytesPerEvent, "\(dialect.name)")
      }
    }
  }

  @Test func `a key that isn't admitted holds nothing`() throws {
    for head in [String.head(key: "slow", length: 9), .chunkedHead(key: "slow")] {
      let client = EmbeddedClient(budget: 10)
      client.gate.script("slow", .ponders(.admit(account: "late")))
      client.send(head)
      #expect(client.budget.used == 0, "anybody could fill the node with keys of his own making")
      client.gateSays()
      client.send(head.contains("chunked") ? .chunk("abc") : "abc")
      #expect(client.budget.used == 3)
    }
    let unknown = EmbeddedClient(budget: 10)
    unknown.send(.post(key: "bad", body: .filler(11)))
    #expect(try unknown.statuses() == [401], "it isn't told to come again")
  }

  @Test func `a body that may have the key in it holds its bytes`() throws {
    let client = EmbeddedClient(budget: 10)
    client.send(.head(to: "/api/1/store/", key: nil, length: 9) + "abc")
    #expect(client.budget.used == 3)
    client.send(.filler(6) + .post(to: "/api/1/store/", key: nil, body: .filler(11)))
    #expect(try client.statuses() == [400, 503])
  }

  @Test func `what nobody keeps isn't counted`() throws {
    let client = EmbeddedClient(budget: 0)
    client.send(.post(to: "/1/auth?api_key=good", key: nil) + .chunkedHead(to: "/1/auth?api_key=good", key: nil))
    client.send(.chunk("abc") + .chunk())
    #expect(try client.statuses() == [200, 200])
  }

  /// A way for a request that holds bytes to end.
  struct End: Sendable, CustomTestStringConvertible {
    let testDescription: String
    var sent = String.head(length: 10) + "abc"
    var held = 3
    var limits = RequestLimits()
    var handover = ScriptedGate.Handover.later(.success(ScriptedGate.id))
    let end: @Sendable (EmbeddedClient) -> Void
  }

  private static let whole = String.head(length: 10) + .filler(10)
  private static let ends: [End] = [
    End(testDescription: "accepted", sent: whole, held: 10) { $0.gateSays() },
    End(
      testDescription: "queue full", sent: whole, held: 10, handover: .later(.failure(.unavailable(.queueFull)))
    ) { $0.gateSays() },
    End(
      testDescription: "too fast", sent: whole, held: 10, handover: .later(.failure(.tooFast(.serviceUnavailable)))
    ) { $0.gateSays() },
    End(
      testDescription: "too large for the queue", sent: whole, held: 10, handover: .later(.failure(.tooLarge(limit: 1)))
    ) { $0.gateSays() },
    End(testDescription: "no key in the body", sent: .head(to: "/api/1/store/", key: nil, length: 10) + "abc") {
      $0.send(.filler(7))
    },
    End(
      testDescription: "too large in chunks", sent: .chunkedHead() + .chunk("abc"),
      limits: RequestLimits(bodyBytes: 5)
    ) { $0.send("3\r\n") },
    End(testDescription: "a broken chunk", sent: .chunkedHead() + .chunk("abc")) { $0.send("x\r\n") },
    End(testDescription: "too slow") { $0.pass(.seconds(60)) },
    End(testDescription: "half closed") { $0.halfClose() },
    End(testDescription: "gone") { $0.reset() },
    End(testDescription: "gone while answered", sent: whole, held: 10) { $0.reset() },
    End(testDescription: "quiesced and gone") {
      $0.quiesce()
      $0.reset()
    },
  ]

  @Test(arguments: ends) func `each end of a request gives its bytes back`(end: End) {
    let client = EmbeddedClient(limits: end.limits)
    client.gate.script("good", .admits(account: "acme"), end.handover)
    client.send(end.sent)
    #expect(client.budget.used == end.held)
    end.end(client)
    #expect(client.budget.used == 0)
  }
}
