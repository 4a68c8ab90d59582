import Foundation
public import Hiredis
import NIOCore
import NIOPosix
public import RedisClient

/// A primary, its replicas, and three Sentinels that know of all of them. Killed with this object, and with the test process.
public final class WatchedRedis: Sendable {
  /// The primary in the beginning.
  public let primary: RedisServer
  public let replicas: [RedisServer]
  public let sentinels: [Sentinel]

  /// What the Sentinels call the primary.
  public static let name = "gate"

  private init(primary: RedisServer, replicas: [RedisServer], sentinels: [Sentinel]) {
    self.primary = primary
    self.replicas = replicas
    self.sentinels = sentinels
  }

  /// - Parameters:
  ///   - count: Of replicas.
  ///   - isQuick: The Sentinels look and tell each other more often than as shipped.
  public static func start(
    replicas count: Int, isQuick: Bool = true, appendOnly: RedisServerOptions.AppendOnly = .off
  ) async throws -> WatchedRedis {
    let options = RedisServerOptions {
      $0.appendOnly = appendOnly
      // Sync a replica at once. By default Redis waits five seconds for more replicas.
      $0.arguments = ["--repl-diskless-sync-delay", "0"]
    }
    let primary = try await RedisServer.start(options)
    var replicas: [RedisServer] = []
    for number in 1...count {
      let replica = try await RedisServer.start(options)
      try await replica.run("REPLICAOF", "127.0.0.1", primary.port)
      replicas.append(replica)
      try await eventually("replica \(number) follows") {
        try await primary.run("ROLE").array()[2].array().count == number
      }
    }
    var sentinels: [Sentinel] = []
    for _ in 0..<3 {
      sentinels.append(
        try await Sentinel.start(watching: primary, as: name, quorum: 2, downAfter: isQuick ? 200 : 500))
    }
    for sentinel in sentinels {
      if isQuick {
        try await sentinel.run("SENTINEL", "DEBUG", "INFO-PERIOD", 200, "PUBLISH-PERIOD", 500, "ASK-PERIOD", 200)
      }
      try await eventually(within: .seconds(20), "a sentinel knows of everybody") {
        let facts = try await sentinel.run("SENTINEL", "MASTER", name).array().map { try $0.string() }
        func fact(_ field: String) -> String? { facts.firstIndex(of: field).map { facts[$0 + 1] } }
        return fact("num-slaves") == "\(count)" && fact("num-other-sentinels") == "2"
      }
    }
    return WatchedRedis(primary: primary, replicas: replicas, sentinels: sentinels)
  }

  /// Whichever server is the primary.
  public var endpoint: RedisEndpoint {
    let hosts = sentinels.map { RedisHost("127.0.0.1", port: $0.port) }
    return RedisEndpoint(address: .sentinels(SentinelGroup(hosts: hosts, primary: Self.name)))
  }

  /// Waits until the Sentinels have made one of the replicas the primary.
  public func promoted() async throws -> RedisServer {
    var found: RedisServer?
    try await eventually(within: .seconds(20), "a replica is promoted") {
      let address = try await sentinels[0].run("SENTINEL", "GET-MASTER-ADDR-BY-NAME", Self.name).array()
      let port = try address[1].string()
      found = replicas.first { "\($0.port)" == port }
      return try await found?.role() == "master"
    }
    guard let found else { throw NeverHappened(description: "no replica is promoted") }
    return found
  }

  public func end() async throws {
    for sentinel in sentinels { try await sentinel.kill9() }
    for server in [primary] + replicas {
      if server.pid != nil { try await server.kill9() }
      server.folder.remove()
    }
  }
}

extension Sentinel {
  /// Sends one command, by a connection of its own.
  /// - Throws: ``RedisClient/RedisError``, or the error that the sentinel answered.
  @discardableResult
  public func run(_ name: String, _ arguments: any RedisArgument...) async throws -> RedisReply {
    let connection = try await RedisConnection.connected(to: endpoint, on: MultiThreadedEventLoopGroup.singleton.any())
    defer { connection.close() }
    return try await connection.execute(RedisCommand(name, arguments: arguments)).orThrow()
  }
}
