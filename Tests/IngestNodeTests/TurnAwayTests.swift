// Connections over the limit, on real sockets: each is answered, and none delays others.

import ClientAddress
import RedisFixture
import Testing

@testable import IngestNode
@testable import Listening

@Suite struct TurnAwayTests {
  @Test func `connections that say nothing make place for one that pushes`() async throws {
    let limiter = ConnectionLimiter(limit: 3)
    try await LoopbackServer.with(limiter: limiter) { server in
      let good = try await server.connect()
      good.send(.post())
      #expect(try await good.answers(1).map(\.status) == [202])
      var strangers: [LoopbackClient] = []
      for round in 1...6 {
        let stranger = try await server.connect()
        // Whatever it sends without an active key.
        if round.isMultiple(of: 2) { stranger.send("GET /nothing HTTP/1.1\r\nHost: sluice\r\n\r\n") }
        strangers.append(stranger)
        try await eventually("it has a place") { server.connections.count == 1 + round + round - 1 }
        let client = try await server.connect()
        client.send(.post())
        #expect(try await client.answers(1).map(\.status) == [202])
        client.halfClose()
        try await eventually("it is over") { client.isEnded }
      }
      try await eventually("some are closed") { strangers.dropLast(2).allSatisfy(\.isReset) }
      good.send(.post())
      #expect(try await good.answers(2).map(\.status) == [202, 202] && !good.isReset)
    }
  }

  @Test func `where so many are told already, the next is closed at once`() async throws {
    let limiter = ConnectionLimiter(limit: 1, courtesies: 1)
    try await LoopbackServer.with(limiter: limiter) { server in
      let first = try await server.connect()
      first.send(.post())
      #expect(try await first.answers(1).map(\.status) == [202])
      let told = try await server.connect()
      #expect(try await told.answers(1).map(\.status) == [503])
      // It doesn't end, so the connection is there for a second more.
      #expect(try await server.connectionIsReset())
    }
  }

  @Test func `an idle connection makes place for one more of its client, and none with a request in hand`() async throws
  {
    try await LoopbackServer.with(limiter: ConnectionLimiter(limit: 10, limitByAddress: 2)) { server in
      server.gate.script("slow", .admits(account: "acme"), .later(.success(ScriptedGate.id)))
      let first = try await server.connect()
      first.send(.post(key: "slow"))
      try await eventually("it is in hand") { server.gate.unsaid == 1 }
      let second = try await server.connect()
      second.send(.post())
      #expect(try await second.answers(1).map(\.status) == [202])

      let third = try await server.connect()
      third.send(.post(key: "slow"))
      try await eventually("the idle one is closed") { second.isEnded }
      try await eventually("the new one is served") { server.gate.unsaid == 2 }
      #expect(!second.isReset, "its answer might still be on its way")

      let fourth = try await server.connect()
      #expect(try await fourth.answers(1).map(\.status) == [503])
      #expect(server.gate.say() && server.gate.say())
      for client in [first, third] { #expect(try await client.answers(1).map(\.status) == [202]) }
    }
  }

  @Test func `a connection that loses its place in the midst of a request is answered first`() async throws {
    try await LoopbackServer.with { server in
      server.gate.script("slow", .admits(account: "acme"), .later(.success(ScriptedGate.id)))
      let client = try await server.connect()
      client.send(.post(key: "slow"))
      try await eventually("it is in hand") { server.gate.unsaid == 1 }
      try await server.handler(ofConnection: 0).giveWay()
      server.gate.say()
      let answers = try await client.answers(1)
      #expect(answers.map(\.status) == [202] && answers.allSatisfy(\.closes))
      try await eventually("it is over") { client.isEnded }
    }
  }

  @Test func `a connection too many is told so, and others are served when there is room`() async throws {
    try await LoopbackServer.with(limiter: ConnectionLimiter(limit: 1, limitByAddress: 10)) { server in
      let first = try await server.connect()
      first.send(.post())
      #expect(try await first.answers(1).map(\.status) == [202])

      for _ in 0..<3 {
        let second = try await server.connect()
        let request = String.post(body: .filler(100_000))
        second.send(request)
        try await eventually("the end came") { second.isEnded }
        try await eventually("all was sent") { second.sentBytes == request.utf8.count || second.isReset }
        #expect(!second.isReset, "what it sends is read, or it might not see the answer")
        let answers = try ReadAnswer.all(in: second.stream)
        #expect(answers.map(\.status) == [503] && answers.allSatisfy(\.closes))
        #expect(answers.first?["retry-after"] != nil)
        #expect(try answers.first?.json()["reason"] as? String == "too_many_connections")
      }
      first.send(.post())
      #expect(try await first.answers(2).count == 2)
      #expect(server.limiter.current == 1)

      first.halfClose()
      try await eventually("there is room") { server.limiter.current == 0 }
      let third = try await server.connect()
      third.send(.post())
      #expect(try await third.answers(1).map(\.status) == [202])
    }
  }
}
