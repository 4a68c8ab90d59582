// URLs whose scheme doesn't match their server.

import Hiredis
import NIOCore
import NIOPosix
import RedisFixture
import Testing

@testable import RedisClient

@Suite(.timeLimit(.minutes(2))) struct AddressKindTests {
  private static let key = "sluice:{keys}:slot"

  private static let primaries = {
    var options = RedisOptions()
    options.needsPrimary = true
    return options
  }()

  private func connected(to endpoint: RedisEndpoint) async throws -> RedisConnection {
    try await RedisConnection.connected(
      to: endpoint, options: Self.primaries, routedBy: Self.key, on: MultiThreadedEventLoopGroup.singleton.any())
  }

  private func failure(to endpoint: RedisEndpoint, sourceLocation: SourceLocation = #_sourceLocation) async throws
    -> String
  {
    let error = try await #require(throws: RedisError.self, sourceLocation: sourceLocation) {
      try await connected(to: endpoint).close()
    }
    #expect(error.outcome == .notSent, sourceLocation: sourceLocation)
    return "\(error)"
  }

  @Test func `one of several shards isn't a Redis alone`() async throws {
    let cluster = try await RedisCluster.start()
    let home = try await cluster.owner(of: cluster.slot(of: Self.key))
    for node in cluster.nodes {
      let place = "127.0.0.1:\(node.port)"
      let advice = "write redis+cluster://\(place) instead of redis://"
      let whole = "redis://\(place) is a node of a cluster of 3 shards: \(advice)"
      #expect(try await failure(to: node.tcpEndpoint) == "could not connect to Redis: \(whole)")
      let socket = try await failure(to: node.endpoint)
      #expect(socket.hasSuffix("shards: write redis+cluster://host:port instead of unix://"), "\(socket)")
      var endpoint = node.tcpEndpoint
      endpoint.database = 1
      let database = try await failure(to: endpoint)
      #expect(database.contains("a cluster, which has database 0 only: write redis+cluster://"), "\(database)")
      // A user that may not read the slots gets a redirection to the key's node.
      try await node.run("ACL", "SETUSER", "default", "-cluster")
      if node.port == cluster.nodes[home].port {
        try await connected(to: node.tcpEndpoint).close()
      } else {
        let moved = try await failure(to: node.tcpEndpoint)
        #expect(moved.contains("MOVED") && moved.hasSuffix(advice), "\(moved)")
      }
      try await node.run("ACL", "SETUSER", "default", "+cluster")
    }
    try await cluster.end()
  }

  @Test(arguments: RedisBuild.supported)
  func `a cluster of one shard may be addressed as a Redis alone`(build: RedisBuild) async throws {
    let options = RedisServerOptions {
      $0.build = build
      $0.arguments = ["--cluster-enabled", "yes"]
    }
    try await withRedis(options) { server in
      let down = try await failure(to: server.tcpEndpoint)
      #expect(down.contains("is a node of a cluster: the cluster is down"), "\(down)")
      try await server.run("CLUSTER", "ADDSLOTSRANGE", 0, 16_383)
      try await eventually("the cluster is up") {
        try await server.run("CLUSTER", "INFO").string().contains("cluster_state:ok")
      }
      let connection = try await connected(to: server.tcpEndpoint)
      #expect(connection.program?.mode == .cluster)
      connection.close()
    }
  }

  @Test(arguments: RedisBuild.supported)
  func `a server alone is no cluster, and no Sentinel`(build: RedisBuild) async throws {
    try await withRedis(RedisServerOptions { $0.build = build }) { server in
      let host = RedisHost("127.0.0.1", port: server.port)
      let cluster = try await failure(to: RedisEndpoint(address: .cluster(seeds: [host])))
      #expect(
        cluster.hasSuffix("\(host) runs without cluster mode: write redis://\(host) instead of redis+cluster://"),
        "\(cluster)")
      let group = SentinelGroup(hosts: [host], primary: "gate")
      let sentinel = try await failure(to: RedisEndpoint(address: .sentinels(group)))
      #expect(
        sentinel.hasSuffix("\(host) is no Sentinel: write redis://\(host) instead of redis+sentinel://"), "\(sentinel)")
    }
  }

  @Test func `a Sentinel is neither a Redis nor a node of a cluster`() async throws {
    try await withRedis { primary in
      let sentinel = try await Sentinel.start(watching: primary, as: "gate", quorum: 1, downAfter: 60_000)
      let host = RedisHost("127.0.0.1", port: sentinel.port)
      let advice = "is a Sentinel: write redis+sentinel://\(host)/name-of-the-primary instead of"
      let alone = try await failure(to: sentinel.endpoint)
      #expect(alone.hasSuffix("redis://\(host) \(advice) redis://"), "\(alone)")
      let cluster = try await failure(to: RedisEndpoint(address: .cluster(seeds: [host])))
      #expect(cluster.hasSuffix("\(host) \(advice) redis+cluster://"), "\(cluster)")
      try await sentinel.kill9()
    }
  }

  // MARK: Which program

  @Test(arguments: RedisBuild.supported)
  func `a server is called by its own name and version`(build: RedisBuild) async throws {
    let expected =
      switch build {
      case .redis7: "Redis 7.0."
      case .redis8: "Redis 8."
      case .valkey9: "Valkey 9."
      case .redis6: "Redis 6.2."
      }
    for renamed in [[], ["--rename-command", "INFO", ""]] {
      let options = RedisServerOptions {
        $0.build = build
        $0.arguments = renamed
      }
      try await withRedis(options) { server in
        let connection = try await connected(to: server.endpoint)
        let program = "\(try #require(connection.program))"
        #expect(program.hasPrefix(expected), "\(program)")
        #expect(connection.program?.mode == .standalone)
        connection.close()
      }
    }
  }

  @Test func `INFO of Valkey has the Redis that it is compatible with beside its own version`() throws {
    func program(_ lines: String...) -> ServerIdentity? {
      InfoFields(.bulk(Array(lines.joined(separator: "\r\n").utf8))).flatMap { ServerIdentity($0) }
    }
    let valkey = program("redis_version:7.2.4", "server_name:valkey", "valkey_version:9.1.0", "server_mode:cluster")
    #expect(valkey.map { "\($0)" } == "Valkey 9.1.0")
    #expect(valkey?.compatible == "7.2.4" && valkey?.mode == .cluster)
    // A name without a version of its own.
    #expect(program("redis_version:7.2.4", "server_name:fork").map { "\($0)" } == "Fork 7.2.4")
    #expect(program("redis_version:7.0.15", "redis_mode:new").map { "\($0)" } == "Redis 7.0.15")
    #expect(program("redis_version:7.0.15", "redis_mode:new")?.mode == nil)
    #expect(program("server_name:valkey") == nil)
  }
}
