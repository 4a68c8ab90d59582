// The deadline of each phase of a connection. The test controls the event loop's clock, so each deadline is tested to
// the nanosecond.

import HTTPFraming
import KeyReplica
import NIOCore
import NIOEmbedded
import Testing

@testable import IngestNode

@Suite struct DeadlineTests {
  /// Nothing happens before the deadline, and the connection ends at it.
  private func expectEnd(
    of client: EmbeddedClient, after time: TimeAmount, statuses: [Int], isOpen: Bool,
    location: SourceLocation = #_sourceLocation
  ) throws {
    let before = client.stream
    client.pass(time - .nanoseconds(1))
    #expect(client.isOpen && !client.outputIsClosed && client.stream == before, sourceLocation: location)
    client.pass(.nanoseconds(1))
    #expect(try client.statuses() == statuses, sourceLocation: location)
    #expect(client.isOpen == isOpen, sourceLocation: location)
    #expect(client.outputIsClosed, sourceLocation: location)
  }

  @Test func `a connection on which nothing comes closes without a word`() throws {
    try expectEnd(of: EmbeddedClient(), after: .seconds(75), statuses: [], isOpen: false)
  }

  @Test func `idleness counts from the last answer`() throws {
    let client = EmbeddedClient()
    client.gate.script("slow", .admits(account: "acme"), .later(.success(ScriptedGate.id)))
    client.pass(.seconds(70))
    client.send(.post(key: "slow"))
    client.pass(.seconds(70))
    client.gateSays()
    try expectEnd(of: client, after: .seconds(75), statuses: [202], isOpen: false)
  }

  @Test func `that it comes at once makes no difference`() throws {
    let client = EmbeddedClient()
    client.pass(.seconds(70))
    client.send(.request("GET /nowhere HTTP/1.1", []))
    try expectEnd(of: client, after: .seconds(75), statuses: [404], isOpen: false)
  }

  @Test func `a head that drips in is answered 408`() throws {
    let client = EmbeddedClient()
    client.pass(.seconds(50))
    client.send("P")
    for byte in "OST /" {
      client.pass(.seconds(1))
      client.send(String(byte))
    }
    try expectEnd(of: client, after: .seconds(5), statuses: [408], isOpen: true)
    #expect(try client.answer().closes)
    #expect(try client.answer().json()["reason"] as? String == "too_slow")
  }

  @Test func `each head has its own time, however close they come`() throws {
    let client = EmbeddedClient()
    let request = String.request("GET /nowhere HTTP/1.1", [])
    client.send(request.prefix(10).utf8)
    for _ in 0..<3 {
      client.pass(.seconds(7))
      client.send((request.dropFirst(10) + request.prefix(10)).utf8)
    }
    try expectEnd(of: client, after: .seconds(10), statuses: [404, 404, 404, 408], isOpen: true)
  }

  @Test func `a body that drips in is answered 408, and its bytes are given back`() throws {
    for head in [String.head(to: "/v1/traces", length: 100), .chunkedHead(to: "/v1/traces")] {
      let client = EmbeddedClient()
      client.send(head)
      for _ in 0..<5 {
        client.pass(.seconds(10))
        client.send(head.contains("chunked") ? .chunk("x") : "x")
      }
      #expect(client.budget.used > 0)
      try expectEnd(of: client, after: .seconds(10), statuses: [408], isOpen: true)
      #expect(client.budget.used == 0 && client.gate.pushes.isEmpty)
      let answer = try client.answer()
      #expect(answer.closes && answer["content-type"] == "application/x-protobuf", "in its dialect's words")
    }
  }

  @Test func `a body whose key hasn't come has as long for it as a head, and then as long as any body`() throws {
    let line = #"{"dsn":"https://good@sentry.example/1"}"#
    let path = "/api/1/envelope/"
    for head in [String.head(to: path, key: nil, length: 100), .chunkedHead(to: path, key: nil)] {
      func send(_ text: String, to client: EmbeddedClient) {
        client.send(head.contains("chunked") ? .chunk(text) : text)
      }
      let client = EmbeddedClient()
      client.send(head)
      for byte in line.prefix(9) {
        client.pass(.seconds(1))
        send(String(byte), to: client)
      }
      #expect(client.budget.keylessUsed == 9)
      try expectEnd(of: client, after: .seconds(1), statuses: [408], isOpen: true)
      #expect(client.budget.keylessUsed == 0)
      // Once the key has been read, the body has the same deadline as any other body.
      let known = EmbeddedClient()
      known.send(head)
      send(String(line.prefix(9)), to: known)
      known.pass(.seconds(9))
      send(line.dropFirst(9) + "\n", to: known)
      known.pass(.seconds(50))
      send("{}", to: known)
      #expect(known.budget.used == line.utf8.count + 3)
      try expectEnd(of: known, after: .seconds(10), statuses: [408], isOpen: true)
    }
  }

  @Test func `each body has its own time, however close they come`() throws {
    let client = EmbeddedClient()
    client.send(.head(length: 6) + "abc")
    for _ in 0..<3 {
      client.pass(.seconds(50))
      client.send("def" + .head(length: 6) + "abc")
    }
    try expectEnd(of: client, after: .seconds(60), statuses: [202, 202, 202, 408], isOpen: true)
  }

  @Test func `an answer that the node owes has no deadline here`() throws {
    let client = EmbeddedClient()
    client.gate.script("slow", .ponders(.admit(account: "late")), .later(.success(ScriptedGate.id)))
    client.send(.post(key: "slow"))
    client.pass(.hours(1))
    client.gateSays()
    client.pass(.hours(1))
    client.gateSays()
    #expect(try client.statuses() == [202])
    #expect(client.isOpen)
  }

  @Test func `waiting for the verdict isn't held against the client`() throws {
    let client = EmbeddedClient()
    client.gate.script("slow", .ponders(.admit(account: "late")))
    client.send(.head(key: "slow", length: 3))
    client.pass(.seconds(61))
    client.gateSays()
    client.pass(.seconds(50))
    client.send("abc")
    #expect(try client.statuses() == [202])
  }

  @Test func `a rest that nobody wants is awaited for a while`() throws {
    let client = EmbeddedClient()
    client.send(.head(key: "bad", length: 100) + .filler(50))
    client.pass(.seconds(4))
    client.send(.filler(49))
    try expectEnd(of: client, after: .seconds(1), statuses: [401], isOpen: false)
  }

  @Test func `a rest in chunks that nobody wants is awaited as long, and then it is told why`() throws {
    let client = EmbeddedClient()
    client.send(.chunkedHead(key: "bad") + .chunk("abc"))
    client.pass(.seconds(4))
    client.send(.chunk("abc"))
    try expectEnd(of: client, after: .seconds(1), statuses: [401], isOpen: true)
    #expect(try client.answer().closes && client.answer().json()["error"] as? String == "unknown_key")
  }

  @Test func `it counts from when nobody wants it any more`() throws {
    let client = EmbeddedClient(budget: 10)
    client.send(.chunkedHead() + .chunk("abc"))
    client.pass(.seconds(50))
    client.send(.chunk(.filler(8)))
    client.pass(.seconds(4))
    client.send(.chunk("abc"))
    try expectEnd(of: client, after: .seconds(1), statuses: [503], isOpen: true)
    #expect(try client.answer().json()["reason"] as? String == "node_full")
    // A late verdict is the node's delay: the rest has its time from there.
    let late = EmbeddedClient()
    late.gate.script("slow", .ponders(ScriptedGate.unknown))
    late.send(.chunkedHead(key: "slow"))
    late.pass(.seconds(59))
    late.gateSays()
    try expectEnd(of: late, after: .seconds(5), statuses: [401], isOpen: true)
  }

  @Test func `who doesn't close after its last answer is closed`() throws {
    for sent in [.post("Connection: close"), "nonsense\r\n", .head(key: "bad", length: 1 << 20)] {
      let client = EmbeddedClient()
      client.send(sent)
      #expect(client.outputIsClosed)
      client.pass(.seconds(5) - .nanoseconds(1))
      #expect(client.isOpen)
      client.pass(.nanoseconds(1))
      #expect(!client.isOpen)
    }
  }

  @Test func `a connection that goes on doesn't touch its timer`() throws {
    let client = EmbeddedClient()
    client.gate.script("good", .admits(account: "acme"), .later(.success(ScriptedGate.id)))
    let first = try #require(client.timer)
    #expect(first == client.loop.now + .seconds(75))
    let requests: [String] = [
      .post(), .post(key: "bad"), .chunkedHead() + .chunk("abc") + .chunk(), .request("GET /nowhere HTTP/1.1", []),
    ]
    for number in 0..<200 {
      client.pass(.milliseconds(1))
      client.send(requests[number % 4])
      client.gate.say()
      #expect(client.timer == first)
    }
    // One that is cut has an earlier deadline: the timer is moved once, and stays there.
    client.send("POST")
    let moved = try #require(client.timer)
    #expect(moved == client.loop.now + .seconds(10))
    for _ in 0..<200 {
      client.pass(.milliseconds(1))
      client.send((String.head(length: 3) + "abcPOST").utf8.dropFirst(4))
      client.gateSays()
      #expect(client.timer == moved)
    }
    // It rings, finds that it is too early, and is set anew.
    client.pass(.seconds(10) - .milliseconds(200))
    #expect(client.timer == moved + .milliseconds(200) && client.isOpen)
    client.pass(.milliseconds(200))
    #expect(client.outputIsClosed)
  }
}
