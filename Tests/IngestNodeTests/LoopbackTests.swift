// The other tests use a simulated socket. These tests check its assumptions on real sockets: reading stops, answers
// survive the end of a connection, and clients that disconnect are noticed.

import HTTPFraming
import Listening
import NIOCore
import RedisFixture
import Testing

@testable import IngestNode

@Suite struct LoopbackTests {
  private static let question = String.request("GET /nowhere HTTP/1.1", [])

  @Test func `requests are answered, and a client that ends its side gets all answers and the end`() async throws {
    try await LoopbackServer.with { server in
      server.gate.script("good", .admits(account: "acme"), .later(.success(ScriptedGate.id)))
      let client = try await server.connect()
      client.send(.post(body: "1") + .post(key: "bad") + .post(body: "2"))
      client.halfClose()
      try await eventually("the first was pushed") { server.gate.unsaid == 1 }
      server.gate.say()
      try await eventually("the second was pushed") { server.gate.unsaid == 1 }
      server.gate.say()
      #expect(try await client.answers(3).map(\.status) == [202, 401, 202])
      try await eventually("the end came") { client.isEnded }
      try await eventually("the connection is over") { server.limiter.current == 0 }
      #expect(server.gate.payloads == ["1", "2"])
    }
  }

  @Test func `more answers than the sockets hold reach a client that ends its side first and reads later, in order`()
    async throws
  {
    let count = 6_000
    try await LoopbackServer.with { server in
      let client = try await server.connect(readsAtOnce: false)
      let other = String.request("DELETE /v1/events HTTP/1.1", [])
      client.send(String(repeating: Self.question + Self.question + other, count: count / 3))
      client.halfClose()
      try await eventually("the node has to wait for the client") { server.connections.first?.isWritable == false }
      try await client.read()
      let statuses = try await client.answers(count).map(\.status)
      #expect(statuses == (0..<count).map { $0 % 3 == 2 ? 405 : 404 })
      try await eventually("the end came") { client.isEnded }
    }
  }

  @Test func `a client that is told to go gets the answers that it hasn't read`() async throws {
    let count = 6_000
    try await LoopbackServer.with { server in
      let client = try await server.connect(readsAtOnce: false)
      client.send(String(repeating: Self.question, count: count))
      try await eventually("the node has to wait for the client") { server.connections.first?.isWritable == false }
      server.connections[0].pipeline.fireUserInboundEventTriggered(ChannelShouldQuiesceEvent())
      try await client.read()
      try await eventually("the end came") { client.isEnded }
      let answers = try ReadAnswer.all(in: client.stream)
      #expect(!answers.isEmpty && answers.count <= count && answers.allSatisfy { $0.status == 404 })
    }
  }

  @Test func `a client that sends without end while it waits isn't read from`() async throws {
    try await LoopbackServer.with { server in
      server.gate.script("good", .admits(account: "acme"), .later(.success(ScriptedGate.id)))
      let client = try await server.connect()
      client.send(.post())
      try await eventually("it was pushed") { server.gate.unsaid == 1 }
      let count = 512
      let request = String.request("GET /nowhere HTTP/1.1", ["x: \(String.filler(15_000))"])
      for _ in 0..<count { client.send(request) }
      // Bytes that have left the client are in one of the kernel's two buffers, or in the node.
      var last = -1
      try await eventually("nothing more is taken") {
        defer { last = client.sentBytes }
        return last > 0 && last == client.sentBytes
      }
      #expect(client.sentBytes < 1 << 20)
      server.gate.say()
      #expect(try await client.answers(1 + count).count == 1 + count)
    }
  }

  @Test func `a client that goes away is noticed, and its bytes are given back`() async throws {
    try await LoopbackServer.with { server in
      for sent in [String.head(length: 1000) + "abc", .chunkedHead() + .chunk("abc"), "POST /v1"] {
        let client = try await server.connect()
        client.send(sent)
        if sent != "POST /v1" { try await eventually("the body has begun") { try await server.budgetUsed > 0 } }
        try await client.reset()
        try await eventually("the connection is over") { server.limiter.current == 0 }
        #expect(try await server.budgetUsed == 0)
      }
      #expect(server.gate.pushes.isEmpty)
    }
  }

  @Test func `a connection writes to its socket until it is over, and then lets go of it`() async throws {
    try await LoopbackServer.with { server in
      let client = try await server.connect()
      client.send(Self.question)
      #expect(try await client.answers(1).map(\.status) == [404])
      let connection = try await server.handler(ofConnection: 0)
      // Afterwards its number may belong to another client, which must not get the answers.
      #expect(try await connection.holdsSocket)
      try await client.reset()
      try await eventually("the connection is over") { server.limiter.current == 0 }
      #expect(try await !connection.holdsSocket)
    }
  }

  @Test func `deadlines pass by the real clock too`() async throws {
    let deadlines = PhaseDeadlines(
      idle: .milliseconds(50), head: .milliseconds(20), body: .milliseconds(20), discard: .milliseconds(20))
    try await LoopbackServer.with(deadlines: deadlines) { server in
      let idle = try await server.connect()
      let slow = try await server.connect()
      slow.send(.head(length: 3))
      try await eventually("both are over") { server.limiter.current == 0 }
      #expect(idle.stream.isEmpty)
      #expect(try await slow.answers(1).map(\.status) == [408])
    }
  }
}
