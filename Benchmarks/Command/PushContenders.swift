// Those that take pushes, each with a Redis of its own, so that what one left there is nobody else's.

import Foundation
import Hiredis
import Logging
import NIOPosix
import RedisClient
import RedisFixture

/// A running server that takes pushes.
struct PushContender {
  let name: String
  let process: ServiceProcess
  let port: Int
  let redis: QueueRedis
  let url: String
  let method: String
  /// A key that is accepted.
  let key: String
  /// The lists that pushes go to; none where it pushes nothing.
  let lists: [String]

  var pushes: Bool { !lists.isEmpty }

  /// How many payloads are in Redis.
  func pushed() async throws -> Int { try await redis.count(lists.map { RedisCommand("LLEN", $0) }) }

  func empty() async throws {
    guard pushes else { return }
    _ = try await redis.send([RedisCommand("UNLINK", arguments: lists)])
  }

  func stop() async throws {
    process.terminate()
    _ = try await process.waitForExit(within: .seconds(30))
    redis.client.shutDown()
    if redis.server.pid != nil { try await redis.server.kill9() }
  }

  /// Starts all of them.
  static func all(keys: Int, folder: TemporaryFolder) async throws -> [PushContender] {
    let store = try await PublishedStore.make(keys: keys)
    let key = String(decoding: SampleKeys.secret(keys / 2), as: UTF8.self)
    let lines = (0..<keys).map { String(decoding: SampleKeys.secret($0), as: UTF8.self) }.joined(separator: "\n")
    try (lines + "\n").write(toFile: folder.path("keys.txt"), atomically: true, encoding: .utf8)
    let contenders = [
      try await sluice(store, key), try await nginx(key, folder), try await webdis(key, folder),
      try await bareNginx(key, folder),
    ]
    for contender in contenders { try await contender.untilAccepting() }
    return contenders
  }

  /// A node on the store's own Redis.
  static func sluice(_ store: PublishedStore, _ key: String) async throws -> PushContender {
    let (port, admin) = (try BlockingSocket.freePort(), try BlockingSocket.freePort())
    let process = try await ServiceProcess.start(
      "ingest-node",
      [
        "--name", "bench", "--listen", "127.0.0.1:\(port)", "--admin", "127.0.0.1:\(admin)", "--grace", "0s",
        "--max-requests", "1000000000", "--max-connections-per-address", "10000", "--log-level", "warning",
        // Nobody takes anything away here.
        "--max-queue-entries", "1000000000", "--max-queue-bytes", "1000000000000",
      ],
      environment: ["SLUICE_REDIS": "\(store.redis.tcpEndpoint)"])
    return PushContender(
      name: "Sluice", process: process, port: port, redis: connect(store.redis),
      url: "http://127.0.0.1:\(port)/v1/events",
      method: "POST", key: key, lists: (0...16).map { "sluice:{queue-0}:pending:\($0)" })
  }

  private static func nginx(_ key: String, _ folder: TemporaryFolder) async throws -> PushContender {
    let (process, redis, port, _) = try await startNginx(folder)
    return PushContender(
      name: "nginx with Lua", process: process, port: port, redis: redis, url: "http://127.0.0.1:\(port)/v1/events",
      method: "POST",
      key: key, lists: ["queue"])
  }

  private static func bareNginx(_ key: String, _ folder: TemporaryFolder) async throws -> PushContender {
    let (process, redis, _, port) = try await startNginx(folder)
    return PushContender(
      name: "nginx answering 202", process: process, port: port, redis: redis,
      url: "http://127.0.0.1:\(port)/v1/events",
      method: "POST", key: key, lists: [])
  }

  private static func startNginx(
    _ folder: TemporaryFolder
  ) async throws -> (ServiceProcess, QueueRedis, port: Int, barePort: Int) {
    let redis = try await RedisServer.start()
    let (port, barePort) = (try BlockingSocket.freePort(), try BlockingSocket.freePort())
    let configuration = try Peers.configure(
      "nginx.conf",
      [
        "FOLDER": folder.path, "PORT": "\(port)", "BARE_PORT": "\(barePort)", "REDIS_PORT": "\(redis.port)",
        "PROCESSES": "\(ProcessInfo.processInfo.activeProcessorCount)",
      ], in: folder)
    let process = try await ServiceProcess.start("/usr/sbin/nginx", ["-c", configuration, "-e", "stderr"])
    return (process, connect(redis), port, barePort)
  }

  private static func webdis(_ key: String, _ folder: TemporaryFolder) async throws -> PushContender {
    let redis = try await RedisServer.start()
    let port = try BlockingSocket.freePort()
    let configuration = try Peers.configure(
      "webdis.json",
      [
        "FOLDER": folder.path, "PORT": "\(port)", "REDIS_PORT": "\(redis.port)",
        "PROCESSES": "\(ProcessInfo.processInfo.activeProcessorCount)",
      ], in: folder)
    let process = try await ServiceProcess.start("/usr/bin/webdis", [configuration])
    // A PUT's body is its command's last argument.
    return PushContender(
      name: "Webdis, no key", process: process, port: port, redis: connect(redis),
      url: "http://127.0.0.1:\(port)/LPUSH/queue",
      method: "PUT", key: key, lists: ["queue"])
  }

  private static func connect(_ server: RedisServer) -> QueueRedis {
    QueueRedis(
      server: server,
      client: RedisClient(
        endpoint: server.tcpEndpoint, on: MultiThreadedEventLoopGroup.singleton.any(),
        logger: Logger(label: "bench", factory: { _ in SwiftLogNoOpLogHandler() })))
  }

  /// Waits until a push is accepted.
  func untilAccepting() async throws {
    try await eventually(within: .seconds(60), "\(name) accepts a push\n\(process.outputs)") {
      try await Peers.run(
        "/usr/bin/curl",
        ["--silent", "--fail", "--request", method, "--header", "Authorization: Bearer \(key)", "--data", "x", url])
      return true
    }
  }
}
