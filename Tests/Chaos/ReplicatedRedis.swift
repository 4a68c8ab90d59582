// Two servers behind one address: a primary, and a replica that is promoted when the primary dies. The replica follows through a proxy, so
// that it can lag without knowing: what its kernel had received would survive a SIGSTOP, and nothing would be lost.

import Hiredis
import NIOCore
import NIOPosix
import RedisClient
import RedisFixture
import Synchronization

/// A primary and its replica.
final class ReplicatedRedis: Sendable {
  /// The address that always leads to the current primary.
  let address: FaultProxy
  private let servers: [RedisServer]
  /// Between the replica and its primary.
  private let link: FaultProxy
  private let place = Mutex(0)

  private init(servers: [RedisServer], address: FaultProxy, link: FaultProxy) {
    self.servers = servers
    self.address = address
    self.link = link
  }

  var primary: RedisServer { servers[place.withLock { $0 }] }
  private var replica: RedisServer { servers[1 - place.withLock { $0 }] }

  static func start(_ build: RedisBuild, on loop: any EventLoop) async throws -> ReplicatedRedis {
    var servers: [RedisServer] = []
    for _ in 1...2 {
      servers.append(
        try await RedisServer.start(
          RedisServerOptions {
            $0.build = build
            $0.appendOnly = .always
            // Otherwise the primary waits 5 s for further replicas before a full sync.
            $0.arguments = ["--repl-diskless-sync-delay", "0"]
          }))
    }
    let redis = ReplicatedRedis(
      servers: servers, address: try await FaultProxy.start(before: servers[0].port, on: loop),
      link: try await FaultProxy.start(before: servers[0].port, on: loop))
    try await redis.follow()
    return redis
  }

  /// The replica receives nothing more, and doesn't know it.
  func stall() { link.set(.still) }

  /// The primary dies, and the replica takes its place as it is.
  func failOver() async throws {
    try await primary.kill9()
    link.cut()
    address.cut()
    try await Self.command(replica, "REPLICAOF", "NO", "ONE")
    place.withLock { $0 = 1 - $0 }
    address.lead(to: primary.port)
  }

  /// There is a replica again, and it has everything.
  func restore() async throws {
    if primary.pid == nil { try await primary.restart() }
    if replica.pid == nil { try await replica.restart() }
    link.lead(to: primary.port)
    link.set(.fair)
    try await follow()
  }

  private func follow() async throws {
    try await Self.command(replica, "REPLICAOF", "127.0.0.1", "\(link.port)")
    try await eventually(within: .seconds(20), "the replica follows") {
      try await Self.command(replica, "INFO", "replication").string().contains("master_link_status:up")
    }
    // The primary counts a replica only after its first acknowledgement, up to a second later. A node that requires a
    // replica ends if none is counted.
    try await eventually(within: .seconds(20), "the primary counts the replica") {
      try await Self.command(primary, "INFO", "replication").string().contains("state=online")
    }
  }

  @discardableResult
  private static func command(_ server: RedisServer, _ name: String, _ arguments: String...) async throws -> RedisReply
  {
    let connection = try await RedisConnection.connected(
      to: server.endpoint, options: RedisOptions(name: "chaos"), on: MultiThreadedEventLoopGroup.singleton.any())
    defer { connection.close() }
    return try await connection.execute(RedisCommand(name, arguments: arguments)).orThrow()
  }
}
