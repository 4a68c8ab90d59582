import Hiredis
import NIOCore
import NIOPosix
import RedisClient
import RedisFixture
import Testing

@Suite(.timeLimit(.minutes(1))) struct ConnectTests {
  /// Fails to connect; checks what holds for every such failure.
  private func failure(
    to endpoint: RedisEndpoint, within limit: TimeAmount = .seconds(5),
    sourceLocation: SourceLocation = #_sourceLocation
  ) async throws -> RedisError.Reason {
    let clock = ContinuousClock()
    let began = clock.now
    let error = try await RedisConnection.connect(
      to: endpoint, options: RedisOptions(connectDeadline: limit), on: MultiThreadedEventLoopGroup.singleton.next()
    ).redisError(sourceLocation: sourceLocation)
    #expect(error.outcome == .notSent, sourceLocation: sourceLocation)
    #expect(!"\(error)".contains("outcome unknown"), sourceLocation: sourceLocation)
    #expect(clock.now - began < .nanoseconds(limit.nanoseconds) + .seconds(1), sourceLocation: sourceLocation)
    return error.reason
  }

  private func expectConnectFailed(
    _ reason: RedisError.Reason, because part: String, sourceLocation: SourceLocation = #_sourceLocation
  ) {
    guard case .connectFailed(let why) = reason else {
      Issue.record("\(reason)", sourceLocation: sourceLocation)
      return
    }
    #expect(why.contains(part), sourceLocation: sourceLocation)
  }

  @Test func `nobody listens`() async throws {
    let (tcp, unix) = try await withRedis { ($0.tcpEndpoint, $0.endpoint) }
    expectConnectFailed(try await failure(to: tcp), because: "Connection refused")
    expectConnectFailed(try await failure(to: unix), because: "No such file")
  }

  @Test func `the name doesn't exist`() async throws {
    let reason = try await failure(to: RedisEndpoint("redis://nobody.invalid"), within: .seconds(1))
    expectConnectFailed(reason, because: "redis://nobody.invalid:6379")
  }

  @Test func `somebody listens and says nothing`() async throws {
    let server = try await HostileServer.start(greeting: nil) { _, _ in }
    let reason = try await failure(to: server.endpoint, within: .seconds(1))
    expectConnectFailed(reason, because: "took the connection, but gave no answer within 1.0 s")
    try await eventually("the connection is closed again") { server.closed == 1 }
  }

  @Test func `somebody listens, and it isn't Redis`() async throws {
    let server = try await HostileServer.start(greeting: "HTTP/1.1 400 Bad Request\r\n\r\n") { _, _ in }
    expectConnectFailed(try await failure(to: server.endpoint), because: "isn't RESP2")
  }

  @Test func `somebody listens and hangs up`() async throws {
    let server = try await HostileServer.start(greeting: nil) { client, _ in client.close(promise: nil) }
    expectConnectFailed(try await failure(to: server.endpoint), because: "closed")
  }

  @Test func `the greeting is answered with something else`() async throws {
    let server = try await HostileServer.start(greeting: ":1\r\n-ERR unknown command 'INFO'\r\n") { _, _ in }
    expectConnectFailed(try await failure(to: server.endpoint), because: "got the integer 1")
  }

  @Test func `the server is held`() async throws {
    try await withRedis(RedisServerOptions { $0.tls = true }) { server in
      try await server.pause()
      for transport in Transport.allCases {
        let reason = try await failure(to: transport.endpoint(of: server), within: .milliseconds(200))
        expectConnectFailed(reason, because: "within 0.2 s")
      }
    }
  }

  @Test(arguments: Transport.allCases)
  func `the server refuses the greeting`(over transport: Transport) async throws {
    let options = RedisServerOptions {
      $0.password = "right"
      $0.tls = transport == .tls
    }
    try await withRedis(options) { server in
      var endpoints = [transport.endpoint(of: server)]
      for _ in 1..<4 { endpoints.append(endpoints[0]) }
      endpoints[0].password = nil
      endpoints[1].password = Secret("wrong")
      endpoints[2].user = "nobody"
      endpoints[3].database = 99
      for (endpoint, code) in zip(endpoints, ["NOAUTH", "WRONGPASS", "WRONGPASS", "ERR"]) {
        guard case .greetingRefused(let error) = try await failure(to: endpoint) else {
          Issue.record("\(endpoint) was not refused")
          continue
        }
        #expect(error.code == code)
      }
    }
  }

  @Test func `the server has no room for another client`() async throws {
    try await withRedis { server in
      let first = try await connected(to: server.endpoint)
      try await first.execute(RedisCommand("CONFIG", "SET", "maxclients", 1)).ok()
      switch try await failure(to: server.endpoint) {
      case .greetingRefused(let error): #expect(error.message.contains("max number of clients"))
      // The server hangs up at once; where its words were lost with the connection, that is all we know.
      case .connectFailed(let why): #expect(why.contains("closed"))
      case let reason: Issue.record("\(reason)")
      }
      first.close()
    }
  }

  // MARK: TLS

  @Test func `the certificate isn't by an authority that is trusted`() async throws {
    try await withRedis(RedisServerOptions { $0.tls = true }) { server in
      var endpoint = server.tlsEndpoint
      endpoint.certificateAuthority = nil
      expectConnectFailed(try await failure(to: endpoint), because: "CERTIFICATE_VERIFY_FAILED")
    }
  }

  @Test func `the certificate is for other names`() async throws {
    // One row each: whom the certificate is for, and whether 127.0.0.1 and localhost pass as such.
    let rows = [
      ("DNS:localhost,IP:127.0.0.1", true, true), ("DNS:localhost", false, true),
      ("IP:127.0.0.2,DNS:other", false, false),
    ]
    for (names, addressPasses, namePasses) in rows {
      let options = RedisServerOptions {
        $0.tls = true
        $0.certificateNames = names
      }
      try await withRedis(options) { server in
        var endpoint = server.tlsEndpoint
        guard case .tcp(_, let port) = endpoint.address else { return }
        for (host, passes) in [("127.0.0.1", addressPasses), ("localhost", namePasses)] {
          endpoint.address = .tcp(host: host, port: port)
          if passes {
            try await connected(to: endpoint).close()
          } else {
            expectConnectFailed(try await failure(to: endpoint), because: "failedToValidateHostname")
          }
        }
      }
    }
  }

  @Test func `the authority's file isn't there`() async throws {
    let endpoint = try RedisEndpoint("rediss://127.0.0.1:1?cafile=/nowhere/ca.pem")
    expectConnectFailed(try await failure(to: endpoint), because: "/nowhere/ca.pem")
  }

  @Test func `TLS is spoken to a port that doesn't speak it, and the other way round`() async throws {
    try await withRedis(RedisServerOptions { $0.tls = true }) { server in
      var plain = server.tlsEndpoint
      plain.usesTLS = false
      expectConnectFailed(try await failure(to: plain), because: "closed")
      var secure = server.tcpEndpoint
      secure.usesTLS = true
      // Redis takes the handshake for the beginning of a command, and waits for its end.
      let reason = try await failure(to: secure, within: .seconds(1))
      expectConnectFailed(reason, because: "but TLS or Redis gave no answer within 1.0 s")
    }
  }

  @Test(arguments: RedisBuild.supported)
  func `without CLIENT or INFO it connects, and knows what is denied`(build: RedisBuild) async throws {
    let options = RedisServerOptions {
      $0.build = build
      $0.arguments = ["--rename-command", "INFO", ""]
      $0.users = ["alice on >pass ~* &* +@all -client|setname", "bob on nopass ~* &* +@all"]
      $0.password = "secret"
    }
    try await withRedis(options) { redis in
      func denied(_ user: String, _ password: String?) async throws -> [String] {
        var endpoint = redis.endpoint
        (endpoint.user, endpoint.password) = (user, password.map { Secret($0) })
        let connection = try await RedisConnection.connected(
          to: endpoint, on: MultiThreadedEventLoopGroup.singleton.any())
        defer { connection.close() }
        _ = try await connection.execute(RedisCommand("PING")).orThrow()
        return connection.denied.map(\.name)
      }
      #expect(try await denied("alice", "pass") == ["CLIENT SETNAME", "INFO"])
      #expect(try await denied("bob", "any") == ["INFO"])
      // Who doesn't say who it is is refused, and not let in without a name.
      var endpoint = redis.endpoint
      endpoint.password = nil
      guard case .greetingRefused(let error) = try await failure(to: endpoint) else {
        Issue.record("expected a refusal")
        return
      }
      #expect(error.code == "NOAUTH")
    }
  }

  @Test func `a server that is too old is known by HELLO, too`() async throws {
    let options = RedisServerOptions {
      $0.build = .redis6
      $0.arguments = ["--rename-command", "INFO", ""]
    }
    try await withRedis(options) { redis in
      guard case .serverTooOld(let text) = try await failure(to: redis.endpoint) else {
        Issue.record("expected it to be too old")
        return
      }
      #expect(text.contains("Redis 6.2"))
    }
  }
}
