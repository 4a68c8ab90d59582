// Refusals that are known before the body has come: the rest of it is read and thrown away where it is short and its
// length is known, else the connection ends and says so. A body in chunks has no known length: its end is awaited, so
// far as that is worth while.

import HTTPFraming
import KeyReplica
import Testing

@testable import IngestNode

@Suite struct EarlyRefusalTests {
  private static let limits = RequestLimits(drainBytes: 20, lingerBytes: 100)

  @Test func `a short rest is thrown away, and the connection goes on`() throws {
    let client = EmbeddedClient(limits: Self.limits)
    client.send(.head(key: "bad", length: 20))
    #expect(try client.statuses() == [401], "it isn't kept waiting")
    client.send(.filler(19))
    #expect(client.isOpen && client.gate.pushes.isEmpty)
    client.send(.filler(1) + .post())
    #expect(try client.statuses() == [401, 202])
    #expect(client.gate.payloads == ["payload"], "the rest isn't taken for a request, nor for a part of one")
  }

  @Test func `a rest that looks like a request isn't one`() throws {
    let smuggled = String.post(body: "")
    let client = EmbeddedClient()
    client.send(.head(key: "bad", length: smuggled.utf8.count) + smuggled + .post(body: "mine"))
    #expect(try client.statuses() == [401, 202])
    #expect(client.gate.payloads == ["mine"])
  }

  @Test func `a long rest isn't awaited: the connection closes and says so`() throws {
    let client = EmbeddedClient(limits: Self.limits)
    client.send(.head(key: "bad", length: 21))
    let answer = try client.answer()
    #expect(answer.status == 401 && answer.closes)
    #expect(client.outputIsClosed && client.isOpen, "what still comes is read, or the client may lose its answer")
    client.send(.filler(21) + .post())
    #expect(try client.statuses() == [401])
    #expect(client.gate.pushes.isEmpty)
    client.halfClose()
    #expect(!client.isOpen)
  }

  @Test func `only what is still to come counts`() throws {
    let client = EmbeddedClient(limits: Self.limits)
    client.gate.script("bad", .ponders(ScriptedGate.unknown))
    client.send(.head(key: "bad", length: 30) + .filler(30) + .post())
    client.gateSays()
    // The verdict came before the body was looked at, however much of it was there.
    #expect(try client.answer().closes)
    #expect(client.gate.pushes.isEmpty)
  }

  @Test func `who sends without end after the last answer is cut off`() throws {
    let client = EmbeddedClient(limits: Self.limits)
    client.send(.head(key: "bad", length: 21))
    client.send(.filler(100))
    #expect(client.isOpen)
    client.send("x")
    #expect(!client.isOpen)
  }

  @Test func `in chunks it is told at their end, and the connection goes on`() throws {
    for opinion in [ScriptedGate.Opinion.says(ScriptedGate.unknown), .ponders(ScriptedGate.unknown)] {
      let client = EmbeddedClient(limits: Self.limits)
      client.gate.script("bad", opinion)
      client.send(.chunkedHead(key: "bad") + .chunk(.filler(10)))
      if case .ponders = opinion { client.gateSays() }
      client.send(.chunk(.filler(10)))
      #expect(client.stream.isEmpty && client.budget.used == 0)
      client.send(.chunk() + .post())
      #expect(try client.statuses() == [401, 202])
      #expect(client.gate.payloads == ["payload"])
    }
  }

  @Test func `in many chunks it is told when that is enough, and the connection closes`() throws {
    let client = EmbeddedClient(limits: Self.limits)
    client.send(.chunkedHead(key: "bad") + .chunk(.filler(20)))
    #expect(client.stream.isEmpty)
    client.send(.chunk("x"))
    let answer = try client.answer()
    #expect(answer.status == 401 && answer.closes)
    client.send(.chunk() + .post())
    #expect(try client.statuses() == [401])
    #expect(client.gate.pushes.isEmpty)
  }

  @Test func `what was thrown away because it isn't wanted is bounded for a question too`() throws {
    let client = EmbeddedClient(limits: Self.limits)
    client.send(.chunkedHead(to: "/1/auth?api_key=bad", key: nil) + .chunk(.filler(21)))
    #expect(try client.answer().closes)
  }

  @Test func `paths and methods that aren't served are told so as early`() throws {
    for (path, method, status) in [("/nowhere", "POST", 404), ("/v1/push", "PUT", 405)] {
      let short = EmbeddedClient(limits: Self.limits)
      short.send(.request("\(method) \(path) HTTP/1.1", ["Content-Length: 5"]))
      #expect(try short.statuses() == [status])
      short.send("12345" + .post())
      #expect(try short.statuses() == [status, 202])

      let long = EmbeddedClient(limits: Self.limits)
      long.send(.request("\(method) \(path) HTTP/1.1", ["Content-Length: 50"]))
      #expect(try long.answer().closes)

      let chunked = EmbeddedClient(limits: Self.limits)
      chunked.send(.request("\(method) \(path) HTTP/1.1", ["Transfer-Encoding: chunked"]))
      #expect(chunked.stream.isEmpty)
      chunked.send(.chunk("12345") + .chunk() + .post())
      #expect(try chunked.statuses() == [status, 202])
      #expect(short.gate.asked.isEmpty && long.gate.asked.isEmpty && chunked.gate.asked.isEmpty)
    }
  }

  @Test func `chunks that can't be read are told so, though the request was refused before`() throws {
    let client = EmbeddedClient(limits: Self.limits)
    client.send(.chunkedHead(key: "bad") + "zz\r\n")
    let answer = try client.answer()
    #expect(answer.status == 400 && answer.closes)
    #expect(try answer.json()["reason"] as? String == "invalid_chunk_size")
  }
}
