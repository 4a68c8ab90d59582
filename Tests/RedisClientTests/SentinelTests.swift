import Hiredis
import Logging
import NIOCore
import NIOPosix
import RedisFixture
import Testing

@testable import RedisClient

/// Clients of a primary that real Sentinels name.
@Suite(.timeLimit(.minutes(2))) struct SentinelTests {
  private func client(of endpoint: RedisEndpoint, named name: String = "client") -> RedisClient {
    RedisClient(
      endpoint: endpoint, options: RedisOptions(name: name),
      backoff: Backoff(first: .milliseconds(10), most: .milliseconds(200)),
      on: MultiThreadedEventLoopGroup.singleton.next(),
      logger: Logger(label: "test", factory: { _ in SwiftLogNoOpLogHandler() }))
  }

  private func endpoint(_ sentinels: [RedisHost], primary: String = WatchedRedis.name) -> RedisEndpoint {
    RedisEndpoint(address: .sentinels(SentinelGroup(hosts: sentinels, primary: primary)))
  }

  private func host(_ server: RedisServer) -> RedisEndpoint.Address { .tcp(host: "127.0.0.1", port: server.port) }

  @Test func `a client follows the primary from server to server, and no connection is left behind`() async throws {
    let watched = try await WatchedRedis.start(replicas: 1)
    let client = client(of: watched.endpoint)
    let first = try await client.connection(within: .seconds(5)).get()
    #expect(first.server.address == host(watched.primary))
    #expect(try await client.execute(RedisCommand("SET", "key", "before")) == .status("OK"))
    try await eventually("the replica has it") {
      try await watched.replicas[0].run("GET", "key").string() == "before"
    }

    // Held and let go before anybody's deadline: the old connection stays open, and the old server calls itself primary.
    try await watched.primary.pause()
    let successor = try await watched.promoted()
    try watched.primary.resume()
    let clock = ContinuousClock()
    let promoted = clock.now
    try await eventually(within: .seconds(20), "the client is at the new primary") {
      try await client.connection(within: .seconds(5)).get().server.address == host(successor)
    }
    print("SENTINEL | the client is at the new primary \(clock.now - promoted) after the promotion")
    #expect(clock.now - promoted < .seconds(6))
    #expect(try await client.execute(RedisCommand("SET", "key", "after")) == .status("OK"))
    #expect(try await successor.run("GET", "key").string() == "after")
    try await client.shutDown().get()
    for server in [watched.primary, successor] {
      try await eventually("the client has left") {
        try await !server.run("CLIENT", "LIST").string().contains("name=client")
      }
    }
    for sentinel in watched.sentinels {
      try await eventually("nobody asks any more") {
        try await !sentinel.run("CLIENT", "LIST").string().contains("name=client-sentinel")
      }
    }
    try await watched.end()
  }

  /// Its connection would stay open for ten seconds as shipped; the primary isn't held at all here.
  @Test func `a deposed primary that lives is left within seconds`() async throws {
    let watched = try await WatchedRedis.start(replicas: 1, isQuick: false)
    let client = client(of: watched.endpoint)
    let first = try await client.connection(within: .seconds(5)).get()
    try await watched.sentinels[0].run("SENTINEL", "FAILOVER", WatchedRedis.name)
    let successor = try await watched.promoted()
    let clock = ContinuousClock()
    let promoted = clock.now
    try await first.closed.get()
    try await eventually(within: .seconds(20), "the client is at the new primary") {
      try await client.connection(within: .seconds(5)).get().server.address == host(successor)
    }
    print("SENTINEL | a living primary is left \(clock.now - promoted) after the promotion")
    #expect(clock.now - promoted < .seconds(6))
    try await client.shutDown().get()
    try await watched.end()
  }

  @Test func `sentinels that are away or silent don't keep anybody from the primary`() async throws {
    let watched = try await WatchedRedis.start(replicas: 1)
    try await watched.sentinels[0].kill9()
    watched.sentinels[1].pause()
    // Each connection asks another Sentinel first, so this holds for all of them.
    for _ in 0..<6 {
      let connection = try await RedisConnection.connected(
        to: watched.endpoint, on: MultiThreadedEventLoopGroup.singleton.any())
      #expect(connection.server.address == host(watched.primary))
      connection.close()
    }
    try await watched.end()
  }

  @Test func `a server that is a replica isn't taken for the primary`() async throws {
    try await withRedis { primary in
      try await withRedis { replica in
        try await replica.run("REPLICAOF", "127.0.0.1", primary.port)
        // One that was told wrong, and one that knows better.
        let wrong = try await Sentinel.start(watching: replica, as: WatchedRedis.name, quorum: 1, downAfter: 60_000)
        let right = try await Sentinel.start(watching: primary, as: WatchedRedis.name, quorum: 1, downAfter: 60_000)
        let hosts = [wrong, right].map { RedisHost("127.0.0.1", port: $0.port) }
        for _ in 0..<6 {
          let connection = try await RedisConnection.connected(
            to: endpoint(hosts), on: MultiThreadedEventLoopGroup.singleton.any())
          #expect(connection.server.address == host(primary))
          connection.close()
        }
        let error = try await failure(to: endpoint([hosts[0]]))
        #expect("\(error)".contains("calls itself slave"), "\(error)")
        try await wrong.kill9()
        try await right.kill9()
      }
    }
  }

  @Test func `behind an address that stays a cluster's node that hasn't the slot ends the conversation`() async throws {
    let options = RedisServerOptions { $0.arguments = ["--cluster-enabled", "yes"] }
    let server = try await RedisServer.start(options)
    // It has no slots, and nor has anybody else: CLUSTERDOWN. A node that is a replica by now would say MOVED.
    let connection = try await RedisConnection.connected(
      to: server.tcpEndpoint, options: RedisOptions(needsPrimary: true),
      on: MultiThreadedEventLoopGroup.singleton.any())
    let reply = try await connection.execute(RedisCommand("SET", "key", 1))
    guard case .error(let error) = reply, error.code == "CLUSTERDOWN" else {
      Issue.record("\(reply)")
      return
    }
    // It ends, or the test's time does.
    try await connection.closed.get()
    // For a caller that doesn't need a primary, this is an ordinary answer.
    let plain = try await connected(to: server.tcpEndpoint)
    for _ in 0..<2 { #expect(try await plain.execute(RedisCommand("SET", "key", 1)) == reply) }
    plain.close()
    try await server.kill9()
  }

  @Test func `READONLY ends the conversation`() async throws {
    try await withRedis { primary in
      try await withRedis { other in
        let sentinel = try await Sentinel.start(watching: primary, as: WatchedRedis.name, quorum: 1, downAfter: 60_000)
        let connection = try await RedisConnection.connected(
          to: endpoint([RedisHost("127.0.0.1", port: sentinel.port)]), on: MultiThreadedEventLoopGroup.singleton.any())
        try await primary.run("REPLICAOF", "127.0.0.1", other.port)
        let reply = try await connection.execute(RedisCommand("SET", "key", 1))
        guard case .error(let error) = reply, error.code == "READONLY" else {
          Issue.record("\(reply)")
          return
        }
        let clock = ContinuousClock()
        let answered = clock.now
        try await connection.closed.get()
        #expect(clock.now - answered < .milliseconds(500))
        // Somebody else's plain address stays as it is.
        let plain = try await connected(to: primary.tcpEndpoint)
        _ = try await plain.execute(RedisCommand("SET", "key", 1))
        #expect(try await plain.execute(RedisCommand("PING")) == .status("PONG"))
        plain.close()
        try await sentinel.kill9()
      }
    }
  }

  @Test func `nobody knows the primary by that name, nobody is there, and nobody answers`() async throws {
    try await withRedis { primary in
      let sentinel = try await Sentinel.start(watching: primary, as: WatchedRedis.name, quorum: 1, downAfter: 60_000)
      let host = RedisHost("127.0.0.1", port: sentinel.port)
      let unknown = try await failure(to: endpoint([host], primary: "another"))
      #expect("\(unknown)".contains("knows no primary called another"), "\(unknown)")
      // A server is no sentinel.
      let wrong = try await failure(to: endpoint([RedisHost("127.0.0.1", port: primary.port)]))
      #expect("\(wrong)".contains("127.0.0.1:\(primary.port) is no Sentinel"), "\(wrong)")
      sentinel.pause()
      let clock = ContinuousClock()
      let began = clock.now
      let silent = try await failure(to: endpoint([host]))
      #expect("\(silent)".contains("gave no answer"), "\(silent)")
      #expect(clock.now - began < .seconds(4))
      try await sentinel.kill9()
      let away = try await failure(to: endpoint([host]))
      #expect("\(away)".contains("Connection refused"), "\(away)")
    }
  }

  @Test func `sentinels and servers each have their own password`() async throws {
    try await withRedis(RedisServerOptions { $0.password = "of-the-server" }) { primary in
      let sentinel = try await Sentinel.start(watching: primary, as: WatchedRedis.name, quorum: 1, downAfter: 60_000) {
        _ in ["requirepass sentinels", "sentinel auth-pass \(WatchedRedis.name) of-the-server"]
      }
      var group = SentinelGroup(
        hosts: [RedisHost("127.0.0.1", port: sentinel.port)], primary: WatchedRedis.name, password: Secret("sentinels"))
      func endpoint() -> RedisEndpoint { RedisEndpoint(address: .sentinels(group), password: Secret("of-the-server")) }
      let connection = try await connected(to: endpoint())
      #expect(try await connection.execute(RedisCommand("PING")) == .status("PONG"))
      connection.close()
      var wrong = endpoint()
      wrong.password = Secret("wrong")
      let refused = try await failure(to: wrong)
      guard case .greetingRefused = refused.reason else {
        Issue.record("\(refused)")
        return
      }
      group.password = Secret("wrong")
      let error = try await failure(to: endpoint())
      #expect("\(error)".contains("the sentinel 127.0.0.1:\(sentinel.port) rejected HELLO or AUTH"), "\(error)")
      #expect(!"\(error)".contains("wrong"))
      try await sentinel.kill9()
    }
  }

  @Test func `with TLS sentinels and servers are both spoken to in TLS`() async throws {
    try await withRedis(RedisServerOptions { $0.tls = true }) { primary in
      guard case .tcp(_, let tlsPort) = primary.tlsEndpoint.address else { return }
      let sentinel = try await Sentinel.start(watching: primary, as: "plain", quorum: 1, downAfter: 60_000) { port in
        [
          "tls-port \(port + 1)", "tls-replication yes", "tls-auth-clients no",
          "tls-cert-file \(primary.folder.path("server.crt"))", "tls-key-file \(primary.folder.path("server.key"))",
          "tls-ca-cert-file \(primary.folder.path("ca.crt"))",
          "sentinel monitor \(WatchedRedis.name) 127.0.0.1 \(tlsPort) 1",
        ]
      }
      var endpoint = endpoint([RedisHost("127.0.0.1", port: sentinel.port + 1)])
      endpoint.usesTLS = true
      endpoint.certificateAuthority = primary.tlsEndpoint.certificateAuthority
      let connection = try await connected(to: endpoint)
      #expect(connection.server == primary.tlsEndpoint)
      #expect(try await connection.execute(RedisCommand("PING")) == .status("PONG"))
      connection.close()
      // Neither the sentinel nor a server is spoken to in plain words.
      endpoint.certificateAuthority = nil
      #expect("\(try await failure(to: endpoint))".contains("CERTIFICATE_VERIFY_FAILED"))
      try await sentinel.kill9()
    }
  }

  private func failure(to endpoint: RedisEndpoint) async throws -> RedisError {
    let error = await #expect(throws: RedisError.self) { try await connected(to: endpoint) }
    let found = try #require(error)
    #expect(found.outcome == .notSent)
    return found
  }
}
