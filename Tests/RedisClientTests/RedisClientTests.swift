import Hiredis
import Logging
import NIOCore
import NIOPosix
import RedisClient
import RedisFixture
import Testing

@Suite(.timeLimit(.minutes(1))) struct RedisClientTests {
  private func client(
    of endpoint: RedisEndpoint, options: RedisOptions = RedisOptions(),
    backoff: Backoff = Backoff(first: .milliseconds(10), most: .milliseconds(100)), log: RecordedLog = RecordedLog()
  ) -> RedisClient {
    RedisClient(
      endpoint: endpoint, options: options, backoff: backoff, on: MultiThreadedEventLoopGroup.singleton.next(),
      logger: log.logger)
  }

  @Test(arguments: Transport.allCases)
  func `a client finds a server that was restarted`(over transport: Transport) async throws {
    try await withRedis(RedisServerOptions { $0.tls = transport == .tls }) { server in
      let client = client(of: transport.endpoint(of: server))
      for round in 0..<3 {
        #expect(try await client.execute(RedisCommand("ECHO", round)).string() == "\(round)")
        try await server.restart()
        try await eventually("the client is connected again") {
          try await client.send(RedisCommand("PING")).get() == .status("PONG")
        }
      }
      try await client.shutDown().get()
    }
  }

  @Test func `while the server is away, commands fail at once as not sent`() async throws {
    try await withRedis { server in
      let client = client(of: server.endpoint)
      #expect(try await client.execute(RedisCommand("PING")) == .status("PONG"))
      try await server.kill9()
      try await eventually("the client has noticed") {
        let error = try await client.send(RedisCommand("PING")).redisError()
        guard case .notConnected(let last) = error.reason else { return false }
        #expect(error.outcome == .notSent)
        return last?.contains("could not connect") == true
      }
      let clock = ContinuousClock()
      let began = clock.now
      let futures = [
        client.send([RedisCommand("PING"), RedisCommand("PING")]).map { _ in },
        client.run(RedisScript(name: "one", source: "return 1"), keys: []).map { _ in },
        client.send(
          encoded: ByteBuffer(bytes: RedisCommand("PING").encoded), named: "PING", expecting: 1,
          deadline: .now() + .seconds(5)
        ).map { _ in },
      ]
      for future in futures {
        guard case .notConnected = try await future.redisError().reason else {
          Issue.record("another reason")
          return
        }
      }
      #expect(clock.now - began < .seconds(1))
      try await client.shutDown().get()
    }
  }

  @Test func `what ended the last conversation is said while there is no new one`() async throws {
    try await withRedis { server in
      let client = client(of: server.endpoint, backoff: Backoff(first: .seconds(60), most: .seconds(60)))
      _ = try await client.execute(RedisCommand("PING"))
      let connection = try await client.connection(within: .seconds(5)).get()
      let late = try await connection.sendFromLoop((RedisCommand("BLPOP", "none", 20), within: .milliseconds(50)))
      #expect(try await late[0].redisError().outcome == .unknown)
      #expect(
        try await client.send(RedisCommand("PING")).redisError()
          == RedisError(.notConnected(last: "Redis didn't answer BLPOP in time"), outcome: .notSent))
      try await client.shutDown().get()
    }
  }

  @Test func `who asks for the connection waits for it, up to the limit`() async throws {
    try await withRedis { server in
      try await server.kill9()
      let client = client(of: server.endpoint)
      let patient = client.connection(within: .seconds(30))
      let hasty = client.connection(within: .milliseconds(50))
      guard case .notConnected = try await hasty.redisError().reason else {
        Issue.record("another reason")
        return
      }
      try await server.restart()
      let connection = try await patient.get()
      #expect(try await connection.execute(RedisCommand("PING")) == .status("PONG"))
      #expect(try await client.connection(within: .zero).get() === connection)
      try await client.shutDown().get()
    }
  }

  @Test func `a deadline that a held server misses ends one conversation, and the next one is clean`() async throws {
    try await withRedis { server in
      let client = client(of: server.endpoint)
      try await client.execute(RedisCommand("SET", "a", "A")).ok()
      try await client.execute(RedisCommand("SET", "b", "B")).ok()
      try await server.pause()
      let connection = try await client.connection(within: .seconds(5)).get()
      let late = try await connection.sendFromLoop((RedisCommand("GET", "a"), within: .milliseconds(100)))
      #expect(try await late[0].redisError().outcome == .unknown)
      try server.resume()
      #expect(try await client.execute(RedisCommand("GET", "b"), within: .seconds(20)).string() == "B")
      try await client.shutDown().get()
    }
  }

  @Test func `one warning an outage, one notice when it is over, and no password in either`() async throws {
    try await withRedis(RedisServerOptions { $0.password = "hunter2" }) { server in
      let log = RecordedLog()
      let client = client(of: server.endpoint, log: log)
      _ = try await client.execute(RedisCommand("PING"))
      #expect(log.lines.isEmpty)
      try await server.kill9()
      try await eventually("several attempts have failed") {
        guard case .notConnected(let last) = try await client.send(RedisCommand("PING")).redisError().reason else {
          return false
        }
        return last?.contains("could not connect") == true
      }
      try await server.restart()
      _ = try await client.connection(within: .seconds(20)).get()
      #expect(log.lines(.warning).count == 1)
      #expect(log.lines(.notice).count == 1)
      #expect(log.lines.count == 2)
      #expect(log.lines.allSatisfy { !"\($0)".contains("hunter2") && "\($0)".contains("***") })
      try await client.shutDown().get()
    }
  }

  @Test func `a wrong password is said to who waits`() async throws {
    try await withRedis(RedisServerOptions { $0.password = "right" }) { server in
      var endpoint = server.endpoint
      endpoint.password = Secret("wrong")
      let client = client(of: endpoint)
      try await eventually("the refusal is said") {
        guard case .notConnected(let last) = try await client.connection(within: .milliseconds(20)).redisError().reason
        else { return false }
        return last?.contains("WRONGPASS") == true
      }
      try await client.shutDown().get()
    }
  }

  @Test func `a server that takes connections only to drop them is asked ever more seldom`() async throws {
    let server = try await HostileServer.start(greeting: nil) { client, _ in
      client.sayAndHangUp(Array("+OK\r\n".utf8))
    }
    let client = client(of: server.endpoint, backoff: Backoff(first: .milliseconds(100), most: .seconds(10)))
    try await eventually("five connections") { server.accepted >= 5 }
    // The fourth wait is 800 ms at most and half of that at least; the first is 100 ms at most.
    #expect(server.acceptTimes[4] - server.acceptTimes[3] >= .milliseconds(400))
    try await client.shutDown().get()
  }

  @Test func `after the shutdown nothing is open and everything is refused`() async throws {
    try await withRedis { server in
      let client = client(of: server.endpoint, options: RedisOptions(name: "client"))
      let blocked = try await client.connection(within: .seconds(5)).get().send(RedisCommand("BLPOP", "none", 20))
      let done = [client.shutDown(), client.shutDown()]
      for future in done { try await future.get() }
      #expect(try await blocked.redisError() == RedisError(.shutDown, outcome: .unknown))
      let refused = RedisError(.shutDown, outcome: .notSent)
      #expect(try await client.send(RedisCommand("PING")).redisError() == refused)
      #expect(try await client.connection(within: .seconds(5)).redisError() == refused)
      try await client.shutDown().get()
      let other = try await connected(to: server.endpoint)
      try await eventually("the server has seen it leave") {
        try await !other.execute(RedisCommand("CLIENT", "LIST")).string().contains("name=client")
      }
      other.close()
    }
  }

  @Test func `a client can be shut down while it connects and while it waits to`() async throws {
    let silent = try await HostileServer.start(greeting: nil) { _, _ in }
    let connecting = client(of: silent.endpoint, options: RedisOptions(connectDeadline: .milliseconds(300)))
    let waiter = connecting.connection(within: .seconds(30))
    try await eventually("the server was asked") { silent.accepted >= 1 }
    try await connecting.shutDown().get()
    #expect(try await waiter.redisError() == RedisError(.shutDown, outcome: .notSent))

    // The attempt under way may still succeed; its connection is closed then.
    let slow = try await HostileServer.start(greeting: nil) { client, _ in
      client.eventLoop.scheduleTask(in: .milliseconds(100)) { client.say("+OK\r\n") }
    }
    let succeeding = client(of: slow.endpoint, options: RedisOptions(connectDeadline: .seconds(10)))
    try await eventually("the server was asked") { slow.accepted >= 1 }
    try await succeeding.shutDown().get()
    try await eventually("the connection is closed") { slow.closed == slow.accepted }

    let waiting = client(
      of: try RedisEndpoint("unix:///nowhere/redis.sock"), backoff: Backoff(first: .seconds(60), most: .seconds(60)))
    try await eventually("the first attempt has failed") {
      try await waiting.send(RedisCommand("PING")).redisError().reason != .notConnected(last: nil)
    }
    try await waiting.shutDown().get()
  }
}
