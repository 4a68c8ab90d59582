import Hiredis
import NIOCore
import RedisClient
import RedisFixture
import Testing

@Suite(.timeLimit(.minutes(1))) struct OutageTests {
  @Test(arguments: Transport.allCases)
  func `a server that is killed in mid-command leaves everything unknown`(over transport: Transport) async throws {
    try await withConnection(over: transport) { server, connection in
      let done = try await connection.execute(RedisCommand("SET", "key", 1))
      #expect(done == .status("OK"))
      let waiting = try await connection.sendFromLoop(
        (RedisCommand("BLPOP", "none", 20), within: .seconds(30)), (RedisCommand("INCR", "key"), within: .seconds(30)),
        (RedisCommand("GET", "key"), within: .seconds(30)))
      try await server.kill9()
      for answer in waiting {
        let error = try await answer.redisError()
        #expect(error.outcome == .unknown)
        guard case .closed = error.reason else {
          Issue.record("\(error)")
          return
        }
      }
      let after = try await connection.send(RedisCommand("PING")).redisError()
      #expect(after.outcome == .notSent)
    }
  }

  @Test(arguments: Transport.allCases)
  func `a missed deadline ends the conversation for all that waits`(over transport: Transport) async throws {
    try await withConnection(over: transport) { server, connection in
      try await server.pause()
      let clock = ContinuousClock()
      let began = clock.now
      let waiting = try await connection.sendFromLoop(
        (RedisCommand("GET", "a"), within: .seconds(30)), (RedisCommand("INCR", "b"), within: .milliseconds(150)))
      let missed = RedisError(.deadlineExceeded(command: "INCR"), outcome: .unknown)
      for answer in waiting { #expect(try await answer.redisError() == missed) }
      #expect(clock.now - began >= .milliseconds(150))
      // Over TLS too, where a polite close would wait for a farewell that never comes.
      try await connection.closed.get()
      #expect(clock.now - began < .seconds(4))
      #expect(
        try await connection.send(RedisCommand("PING")).redisError()
          == RedisError(.deadlineExceeded(command: "INCR"), outcome: .notSent))

      // The held server takes up what it has in its buffers. None of it reaches a later command.
      try server.resume()
      let next = try await connected(to: transport.endpoint(of: server))
      #expect(try await next.execute(RedisCommand("ECHO", "mine")).string() == "mine")
      next.close()
    }
  }

  @Test func `a command that is late already isn't sent, and the others aren't harmed`() async throws {
    try await withConnection(over: .unix) { _, connection in
      let late = connection.send(RedisCommand("SET", "key", 1), within: .zero)
      let error = try await late.redisError()
      #expect(error == RedisError(.deadlineExceeded(command: "SET"), outcome: .notSent))
      #expect(try await connection.execute(RedisCommand("EXISTS", "key")) == .integer(0))
    }
  }

  @Test func `a deadline that is set later but ends sooner is kept`() async throws {
    try await withConnection(over: .unix) { _, connection in
      for _ in 0..<20 { #expect(try await connection.execute(RedisCommand("PING")) == .status("PONG")) }
      let late = try await connection.sendFromLoop((RedisCommand("BLPOP", "none", 20), within: .milliseconds(100)))
      let error = try await late[0].redisError()
      #expect(error == RedisError(.deadlineExceeded(command: "BLPOP"), outcome: .unknown))
    }
  }

  @Test func `deadlines are kept after earlier ones were met`() async throws {
    // The one alarm is set for the first command and must be set anew for those that came since.
    try await withConnection(over: .unix) { _, connection in
      #expect(try await connection.execute(RedisCommand("PING"), within: .milliseconds(500)) == .status("PONG"))
      let late = try await connection.sendFromLoop((RedisCommand("BLPOP", "none", 20), within: .milliseconds(800)))
      let error = try await late[0].redisError()
      #expect(error == RedisError(.deadlineExceeded(command: "BLPOP"), outcome: .unknown))
    }
  }

  @Test func `a server that ends the connection is seen at once`() async throws {
    try await withConnection(over: .tcp) { server, connection in
      let id = try await connection.execute(RedisCommand("CLIENT", "ID")).integer()
      let blocked = connection.send(RedisCommand("BLPOP", "none", 20), within: .seconds(30))
      let other = try await connected(to: server.endpoint)
      #expect(try await other.execute(RedisCommand("CLIENT", "KILL", "ID", id)) == .integer(1))
      #expect(try await blocked.redisError().outcome == .unknown)
      try await connection.closed.get()
      other.close()
    }
  }
}
