// Clients that close their sending side still get their answers. Then the connection ends.

import KeyReplica
import NIOCore
import Testing

@testable import IngestNode

@Suite struct HalfClosureTests {
  @Test func `who sends nothing more gets the answers to all that it sent`() throws {
    let client = EmbeddedClient()
    client.gate.script("slow", .ponders(.admit(account: "late")), .later(.success(ScriptedGate.id)))
    client.send(.post() + .post(key: "slow") + .post(key: "bad") + .post())
    client.halfClose()
    #expect(client.isOpen)
    client.gateSays()
    #expect(client.isOpen)
    client.gateSays()
    #expect(try client.statuses() == [202, 202, 401, 202])
    #expect(!client.isOpen)
  }

  @Test func `an idle connection closes without a word`() {
    let client = EmbeddedClient()
    client.halfClose()
    #expect(!client.isOpen && client.stream.isEmpty)
  }

  @Test func `who stops in the midst of a request hears nothing, and nothing is handed over`() {
    for unfinished in [
      "POST /v1/pu", .head(length: 10) + "abc", .chunkedHead() + .chunk("abc"),
      .chunkedHead(key: "bad") + .chunk("abc"),
      .head("Expect: 100-continue", length: 3),
    ] {
      let client = EmbeddedClient()
      client.send(unfinished)
      let before = client.stream
      client.halfClose()
      #expect(!client.isOpen && client.stream == before)
      #expect(client.gate.pushes.isEmpty && client.budget.used == 0)
    }
  }

  @Test func `who stops while its verdict is awaited hears that, if its request is whole`() throws {
    for (body, statuses) in [("abc", [202]), ("ab", [])] {
      let client = EmbeddedClient()
      client.gate.script("slow", .ponders(.admit(account: "late")))
      client.send(.head(key: "slow", length: 3) + body)
      client.halfClose()
      #expect(client.isOpen)
      client.gateSays()
      #expect(!client.isOpen && client.budget.used == 0)
      #expect(try client.statuses() == statuses)
    }
  }

  @Test func `answers that it hasn't read yet aren't lost`() throws {
    let client = EmbeddedClient()
    client.stopReading()
    client.send(.post() + .post())
    client.halfClose()
    #expect(client.isOpen && client.waitingBytes > 0)
    client.readAgain()
    #expect(try client.statuses() == [202, 202])
    #expect(!client.isOpen)
  }

  @Test func `but they are kept for a while only`() throws {
    let client = EmbeddedClient()
    client.stopReading()
    client.send(.post())
    client.halfClose()
    client.pass(.seconds(5) - .nanoseconds(1))
    #expect(client.isOpen)
    client.pass(.nanoseconds(1))
    #expect(!client.isOpen)
  }
}
