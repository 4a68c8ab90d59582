// Connections that are one too many, on real sockets: each is told so, and none is in anybody's way.

import ClientAddress
import RedisFixture
import Testing

@testable import IngestNode

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

  @Test func `a connection too many is told so, and others are served when there is room`() async throws {
    for limiter in [
      ConnectionLimiter(limit: 1, limitByAddress: 10), ConnectionLimiter(limit: 10, limitByAddress: 1),
    ] {
      try await LoopbackServer.with(limiter: limiter) { server in
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
}
