// How those that take pushes are started. The configurations of others are in Benchmarks/Peers, with the reason beside each choice.

import Foundation
import RedisFixture

extension PushContender {
  /// Runs the body with these, each accepting pushes and warm; they are ended afterwards, also where it throws: nginx's processes would
  /// stay when only the first of them is killed.
  static func with(
    _ kinds: [Kind], _ setting: PushSetting, _ body: ([PushContender]) async throws -> Void
  ) async throws {
    var contenders: [PushContender] = []
    do {
      for kind in kinds { contenders.append(try await start(kind, setting)) }
      for contender in contenders { try await contender.untilAccepting() }
      for contender in contenders { try await contender.warmUp() }
      try await body(contenders)
    } catch {
      // The first error is the one to hear of.
      for contender in contenders { try? await contender.stop() }
      throw error
    }
    for contender in contenders { try await contender.stop() }
  }

  private static func start(_ kind: Kind, _ setting: PushSetting) async throws -> PushContender {
    let key = String(decoding: SampleKeys.secret(setting.keys / 2), as: UTF8.self)
    return switch kind {
    case .sluice: try await sluice(PublishedStore.make(keys: setting.keys, setting.redis), key, setting)
    case .nginxLua: try await nginx(key, setting)
    case .webdis: try await webdis(key, setting)
    case .bareNginx: try await bareNginx(key, setting)
    }
  }

  /// A node on the store's own Redis.
  static func sluice(
    _ store: PublishedStore, _ key: String, _ setting: PushSetting = PushSetting()
  ) async throws -> PushContender {
    let (port, admin) = (try BlockingSocket.freePort(), try BlockingSocket.freePort())
    let durability =
      switch setting.appendOnly {
      case .off: "none"
      case .everysec: "everysec"
      case .always: "always"
      }
    let process = try await ServiceProcess.start(
      "ingest-node",
      [
        "--name", "bench", "--listen", "127.0.0.1:\(port)", "--admin", "127.0.0.1:\(admin)", "--grace", "0s",
        "--max-requests", "1000000000", "--log-level", "warning", "--require-durability", durability,
        // Without the refusal valve: refusals of unknown keys are measured as refusals.
        "--refusal-storm-share", "100",
        // Nobody takes anything away here.
        "--max-queue-entries", "1000000000", "--max-queue-bytes", "1000000000000",
      ],
      environment: ["SLUICE_REDIS": "\(setting.isLocal ? store.redis.endpoint : store.redis.tcpEndpoint)"])
    return PushContender(
      kind: .sluice, process: process, port: port, adminPort: admin, redis: QueueRedis(of: store.redis),
      folder: store.folder, path: "/v1/events", method: "POST", key: key,
      lists: (0...16).map { "sluice:{queue-0}:pending:\($0)" })
  }

  private static func nginx(_ key: String, _ setting: PushSetting) async throws -> PushContender {
    let started = try await startNginx(setting)
    return PushContender(
      kind: .nginxLua, process: started.process, port: started.port, redis: QueueRedis(of: started.redis),
      folder: started.folder, path: "/v1/events", method: "POST", key: key, lists: ["queue"])
  }

  private static func bareNginx(_ key: String, _ setting: PushSetting) async throws -> PushContender {
    let started = try await startNginx(setting)
    return PushContender(
      kind: .bareNginx, process: started.process, port: started.barePort, redis: QueueRedis(of: started.redis),
      folder: started.folder, path: "/v1/events", method: "POST", key: key, lists: [])
  }

  private struct Nginx {
    let process: ServiceProcess
    let redis: RedisServer
    let folder: TemporaryFolder
    let port: Int
    let barePort: Int
  }

  private static func startNginx(_ setting: PushSetting) async throws -> Nginx {
    let folder = try TemporaryFolder()
    let keys = (0..<setting.keys).map { String(decoding: SampleKeys.secret($0), as: UTF8.self) + "\n" }
    try keys.joined().write(toFile: folder.path("keys.txt"), atomically: true, encoding: .utf8)
    let redis = try await RedisServer.start(setting.redis)
    let (port, barePort) = (try BlockingSocket.freePort(), try BlockingSocket.freePort())
    // Of each process, to Redis; with all in use the others wait for one. Up to some hundred clients nginx answers more of them, and more
    // steadily, where each has its own; with thousands that makes it slower by a quarter.
    let pool = "\(setting.connections > 500 ? 64 : setting.connections)"
    let configuration = try Peers.configure(
      "nginx.conf",
      [
        "FOLDER": folder.path, "PORT": "\(port)", "BARE_PORT": "\(barePort)",
        "REDIS": setting.isLocal ? "\"unix:\(redis.socket)\"" : "\"127.0.0.1\", \(redis.port)",
        "PROCESSES": processors,
        // One process may get all of them, and Redis's with them.
        "CONNECTIONS": "\(2 * setting.connections + 1_024)", "POOL": pool,
        "BODY": "\(max(setting.bodyBytes, 64 << 10))",
      ], in: folder)
    let process = try await ServiceProcess.start("/usr/sbin/nginx", ["-c", configuration, "-e", "stderr"])
    return Nginx(process: process, redis: redis, folder: folder, port: port, barePort: barePort)
  }

  private static func webdis(_ key: String, _ setting: PushSetting) async throws -> PushContender {
    let folder = try TemporaryFolder()
    let redis = try await RedisServer.start(setting.redis)
    let port = try BlockingSocket.freePort()
    // More connections to Redis for each of its threads make it slower, down to two thirds with 64; with one or two it is at its best.
    let configuration = try Peers.configure(
      "webdis.json",
      [
        "FOLDER": folder.path, "PORT": "\(port)", "REDIS_PORT": "\(redis.port)", "PROCESSES": processors,
        // A path is a Unix socket.
        "REDIS_HOST": setting.isLocal ? redis.socket : "127.0.0.1",
      ], in: folder)
    let process = try await ServiceProcess.start("/usr/bin/webdis", [configuration])
    // A PUT's body is its command's last argument.
    return PushContender(
      kind: .webdis, process: process, port: port, redis: QueueRedis(of: redis), folder: folder, path: "/LPUSH/queue",
      method: "PUT", key: key, lists: ["queue"])
  }

  private static var processors: String { "\(ProcessInfo.processInfo.activeProcessorCount)" }
}

extension RedisServer {
  /// Its Unix socket.
  fileprivate var socket: String { folder.path("redis.sock") }
}
