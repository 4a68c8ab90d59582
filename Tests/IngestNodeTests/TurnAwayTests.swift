// Connections that are one too many, on real sockets: each is told so, and none is in anybody's way.

import RedisFixture
import Testing

@testable import IngestNode

@Suite struct TurnAwayTests {
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
