import Foundation
import Hiredis
import NIOCore
import NIOPosix
import RedisFixture
import Testing

@testable import RedisClient

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
    expectConnectFailed(reason, because: "the name nobody.invalid can't be looked up, or doesn't exist")
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
      for endpoint in [server.endpoint, server.tcpEndpoint] {
        // Whether or not the greeting was on its way when the server hung up.
        for _ in 1...10 {
          let reason = try await failure(to: endpoint)
          expectConnectFailed(reason, because: "\(endpoint) rejected the connection: ERR max number of clients reached")
        }
      }
      first.close()
    }
  }

  // MARK: TLS

  @Test func `the certificate isn't by an authority that is trusted`() async throws {
    try await withRedis(RedisServerOptions { $0.tls = true }) { server in
      var endpoint = server.tlsEndpoint
      endpoint.certificateAuthority = nil
      expectConnectFailed(
        try await failure(to: endpoint),
        because:
          "Redis's certificate isn't trusted: it has expired, isn't valid yet, or isn't signed by an authority that "
          + "is trusted (the system's): change cafile=, or Redis's certificate (CERTIFICATE_VERIFY_FAILED)")
    }
  }

  @Test func `the certificate is for other names`() async throws {
    // One row each: whom the certificate is for, and whether 127.0.0.1 and localhost pass as such.
    let rows = [
      ("DNS:localhost,IP:127.0.0.1", true, true), ("DNS:localhost", false, true),
      ("IP:127.0.0.2,DNS:other", false, false),
      // An attacker who redirects the name to an address of his own may have a certificate for that address.
      ("IP:127.0.0.1,DNS:other", true, false), ("IP:127.0.0.1", true, false),
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
            expectConnectFailed(try await failure(to: endpoint), because: "Redis's certificate isn't valid for \(host)")
          }
        }
        // A name that is asked for is the only one that counts.
        endpoint.address = .tcp(host: "127.0.0.1", port: port)
        for name in ["localhost", "LOCALHOST.", "other", "redis.example"] {
          endpoint.serverName = name
          if names.contains("DNS:" + name.lowercased().replacing(".", with: "")) {
            try await connected(to: endpoint).close()
          } else {
            expectConnectFailed(try await failure(to: endpoint), because: "Redis's certificate isn't valid for \(name)")
          }
        }
      }
    }
  }

  @Test(arguments: [
    ("redis.example", "redis.example", true), ("redis.example", "REDIS.example.", true),
    ("redis.example", "a.example", false),
    ("*.redis.example", "a.redis.example", true), ("*.redis.example", "a.b.redis.example", false),
    ("*.redis.example", "redis.example", false), ("*.example", "a.example", false), ("*", "example", false),
    ("a*.redis.example", "ab.redis.example", false), ("*.redis.example", ".redis.example", false), ("", "", false),
  ])
  func `names are compared label by label`(pattern: String, name: String, matches: Bool) {
    #expect(DNSName.matches(pattern, name) == matches)
  }

  @Test func `files of TLS that can't be used`() async throws {
    let folder = try TemporaryFolder()
    defer { folder.remove() }
    let (missing, text) = (folder.path("missing"), folder.path("text"))
    try "no PEM".write(toFile: text, atomically: true, encoding: .utf8)
    try await withRedis(RedisServerOptions { $0.tls = true }) { server in
      let (certificate, key) = (server.folder.path("server.crt"), server.folder.path("server.key"))
      let other = server.folder.path("ca.key")
      func why(_ authority: String, _ chain: String, _ key: String) async throws -> RedisError.Reason {
        var endpoint = server.tlsEndpoint
        endpoint.certificateAuthority = authority
        endpoint.clientCertificate = ClientCertificate(chain: chain, privateKey: key)
        return try await failure(to: endpoint)
      }
      let authority = server.folder.path("ca.crt")
      expectConnectFailed(
        try await why(missing, certificate, key), because: "can't read \(missing) (cafile=): No such file or directory")
      expectConnectFailed(
        try await why(text, certificate, key), because: "expected certificates in PEM in \(text) (cafile=)")
      expectConnectFailed(
        try await why(authority, folder.path, key), because: "can't read \(folder.path) (certfile=): it is a folder")
      expectConnectFailed(
        try await why(authority, key, key), because: "expected certificates in PEM in \(key) (certfile=)")
      expectConnectFailed(
        try await why(authority, certificate, text),
        because: "expected a private key without a passphrase in PEM in \(text) (keyfile=)")
      expectConnectFailed(
        try await why(authority, certificate, other),
        because: "\(other) (keyfile=) isn't the key of \(certificate) (certfile=)")
    }
  }

  @Test func `TLS is spoken to a port that doesn't speak it, and the other way round`() async throws {
    try await withRedis(RedisServerOptions { $0.tls = true }) { server in
      var plain = server.tlsEndpoint
      plain.usesTLS = false
      expectConnectFailed(
        try await failure(to: plain), because: "without an answer. Is this Redis's TLS port (rediss://)?"
      )
      var secure = server.tcpEndpoint
      secure.usesTLS = true
      // Redis takes the handshake for the beginning of a command, and waits for its end.
      let reason = try await failure(to: secure, within: .seconds(1))
      expectConnectFailed(reason, because: "but TLS or Redis gave no answer (is this its tls-port?) within 1.0 s")
      secure.serverName = "localhost"
      expectConnectFailed(
        try await failure(to: secure, within: .seconds(1)),
        because: "but TLS or Redis gave no answer (is this its tls-port?) within 1.0 s")
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
      // A client without credentials is rejected, and not admitted as an unnamed user.
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
