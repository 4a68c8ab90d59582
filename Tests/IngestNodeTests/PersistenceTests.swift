// Several requests on one connection, one after the other and all at once, and when it ends.

import HTTPFraming
import KeyReplica
import Testing

@testable import IngestNode

@Suite struct PersistenceTests {
  @Test func `requests that come at once are answered in their order`() throws {
    let client = EmbeddedClient()
    client.gate.script("slow", .ponders(.admit(account: "late")), .later(.failure(.unavailable(.queueFull))))
    client.send(.post(body: "1") + .post(key: "slow", body: "2") + .post(key: "bad", body: "3") + .post(body: "4"))
    #expect(try client.statuses() == [202])
    #expect(client.gate.payloads == ["1"], "the second's verdict is awaited")
    client.gateSays()
    #expect(client.gate.payloads == ["1", "2"], "the third isn't begun")
    #expect(try client.statuses() == [202])
    client.gateSays()
    #expect(try client.statuses() == [202, 503, 401, 202])
    #expect(client.gate.payloads == ["1", "2", "4"])
    #expect(client.isOpen)
  }

  @Test func `where the stream is cut makes no difference`() throws {
    let stream =
      .post(to: "/v1/traces?api_key=good", key: nil, body: "abc") + .chunkedHead() + .chunk("de") + .chunk("f")
      + .chunk()
      + .request("HEAD /v1/push HTTP/1.1", []) + .post(key: "bad") + .request("OPTIONS /api/1/store/ HTTP/1.1", [])
      + .post("Expect: 100-continue", body: "g") + .request("GET /1/auth HTTP/1.1", ["X-Honeycomb-Team: good"])
    var whole: [UInt8]?
    for cut in [0]
      + Array(stream.utf8.indices.dropFirst()).map({ stream.utf8.distance(from: stream.utf8.startIndex, to: $0) })
    {
      let client = EmbeddedClient()
      client.send(stream.utf8.prefix(cut))
      client.send(stream.utf8.dropFirst(cut))
      if let whole {
        #expect(Self.timeless(client.stream) == Self.timeless(whole), "cut at \(cut)")
      } else {
        whole = client.stream
      }
      #expect(client.gate.payloads == ["abc", "def", "g"], "cut at \(cut)")
    }
    let statuses = try ReadAnswer.all(in: #require(whole), heads: [2]).map(\.status)
    #expect(statuses == [200, 202, 405, 401, 200, 100, 202, 200])
    let bytewise = EmbeddedClient(readSize: 1)
    bytewise.send(stream)
    #expect(try Self.timeless(bytewise.stream) == Self.timeless(#require(whole)))
  }

  /// Without the moments of proofs: they are worked out by two clocks, which aren't read at the same instant.
  private static func timeless(_ stream: [UInt8]) -> String {
    String(decoding: stream, as: UTF8.self).replacing(/"as_of":"[^"]*"/, with: #""as_of":"…""#)
  }

  @Test func `HTTP 1.0 ends with its answer, unless it is asked to go on`() throws {
    let client = EmbeddedClient()
    client.send(.request("POST /v1/push HTTP/1.0", ["X-API-Key: good", "Connection: keep-alive"]))
    #expect(try client.answer()["connection"] == "keep-alive")
    client.send(.request("POST /v1/push HTTP/1.0", ["X-API-Key: good"]) + .post())
    let answers = try client.answers()
    #expect(answers.count == 2 && answers[1].closes && client.outputIsClosed)
    #expect(client.gate.pushes.count == 2)
    client.halfClose()
    #expect(!client.isOpen)
  }

  @Test func `a client may say that a request is its last`() throws {
    let client = EmbeddedClient()
    client.send(.post("Connection: close") + .post())
    #expect(try client.answer().closes)
    #expect(client.gate.pushes.count == 1 && client.outputIsClosed)
  }

  @Test func `a connection ends after so many requests`() throws {
    let client = EmbeddedClient(limits: RequestLimits(requests: 3))
    client.send(.post() + .post(key: "bad") + .post(to: "/nowhere") + .post())
    let answers = try client.answers()
    #expect(answers.map(\.status) == [202, 401, 404] && answers.map(\.closes) == [false, false, true])
  }

  @Test func `bytes that aren't HTTP are told so, and nothing behind them is read`() throws {
    let client = EmbeddedClient()
    client.send(.post() + "\u{16}\u{3}\u{1}\u{2}" + .post())
    let answers = try client.answers()
    #expect(answers.map(\.status) == [202, 400] && answers[1].closes)
    #expect(client.gate.pushes.count == 1)
    #expect(try answers[1].json()["reason"] as? String == "invalid_method")
  }
}
