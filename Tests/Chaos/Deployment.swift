// Sluice as it runs in production, on one machine: a Redis that syncs every write, two nodes, three workers that share one sink. The
// second of each kind, and the third worker, talk to Redis through a proxy each. Started once; the rounds kill and restart it piece by piece.

import Foundation
import Hiredis
import NIOCore
import NIOPosix
import RedisClient
import RedisFixture

/// The processes and what is between them.
final class Deployment: Sendable {
  /// What a node listens on.
  struct Ports: Sendable {
    var push: Int
    var admin: Int
  }

  static let nodeCount = 2
  static let workerCount = 3
  static let maxMemory = 64 << 20

  let folder: URL
  let redis: RedisServer
  let nodes: [Member]
  let workers: [Member]
  let ports: [Ports]
  let links: [Role: FaultProxy]
  let spool: SpoolDisk?

  private init(
    folder: URL, redis: RedisServer, nodes: [Member], workers: [Member], ports: [Ports], links: [Role: FaultProxy],
    spool: SpoolDisk?
  ) {
    self.folder = folder
    self.redis = redis
    self.nodes = nodes
    self.workers = workers
    self.ports = ports
    self.links = links
    self.spool = spool
  }

  var members: [Member] { nodes + workers }
  var database: String { folder.appending(path: "payloads.sqlite").path }
  private var environment: [String: String] { ["SLUICE_REDIS": "\(redis.tcpEndpoint)"] }

  /// The node that keeps its mirror in a file: it may begin with one that is about a minute old.
  static let nodeWithState = 0

  subscript(role: Role) -> Member {
    switch role {
    case .node(let place): nodes[place]
    case .worker(let place): workers[place]
    }
  }

  var means: Plan.Means {
    Plan.Means(
      nodes: nodes.count, workers: workers.count, links: links.keys.sorted { "\($0)" < "\($1)" },
      hasSpoolDisk: spool?.isSeparate ?? false)
  }

  // MARK: Starting

  static func start(in folder: URL) async throws -> Deployment {
    let redis = try await RedisServer.start(
      RedisServerOptions {
        $0.appendOnly = .always
        $0.maxMemory = maxMemory
      })
    let loop = MultiThreadedEventLoopGroup.singleton.any()
    var links: [Role: FaultProxy] = [:]
    for role in [Role.node(1), .worker(1), .worker(2)] {
      links[role] = try await FaultProxy.start(before: redis.port, on: loop)
    }
    func environment(_ role: Role) -> [String: String] {
      ["SLUICE_REDIS": "redis://127.0.0.1:\(links[role]?.port ?? redis.port)"]
    }
    let spool = try await SpoolDisk.mount(in: folder)
    var nodes: [Member] = []
    var ports: [Ports] = []
    for place in 0..<nodeCount {
      let (node, its) = try await startNode(.node(place), environment(.node(place)), spool: spool, folder)
      nodes.append(node)
      ports.append(its)
    }
    var workers: [Member] = []
    for place in 0..<workerCount {
      let role = Role.worker(place)
      // Small batches: many claims, so that a kill finds one at each of its steps.
      let worker = Member(
        role, "ingest-worker",
        [
          "--name", "\(role)", "--sink", "sqlite:\(folder.appending(path: "payloads.sqlite").path)", "--batch", "20",
          "--lanes", "2", "--lease", "1s", "--deaths", "100", "--attempts", "100", "--drain", "2s",
        ], environment: environment(role), sign: "working", folder: folder)
      try await worker.start()
      workers.append(worker)
    }
    return Deployment(
      folder: folder, redis: redis, nodes: nodes, workers: workers, ports: ports, links: links, spool: spool)
  }

  /// On ports of its own for all its lives, below those that the system gives to outgoing connections.
  private static func startNode(
    _ role: Role, _ environment: [String: String], spool: SpoolDisk?, _ folder: URL
  ) async throws -> (Member, Ports) {
    var last: (any Error)?
    for _ in 1...20 {
      let port = Int.random(in: 10_000..<31_999)
      let ports = Ports(push: port, admin: port + 1)
      var arguments = [
        "--name", "\(role)", "--listen", "127.0.0.1:\(ports.push)", "--admin", "127.0.0.1:\(ports.admin)", "--grace",
        "0s", "--stop-deadline", "3s", "--threads", "2",
      ]
      if role == .node(nodeWithState) {
        let state = folder.appending(path: "state").path
        try FileManager.default.createDirectory(atPath: state, withIntermediateDirectories: true)
        arguments += ["--state-dir", state]
      }
      if let spool { arguments += ["--spool", try spool.folder(of: role)] }
      let node = Member(
        role, "ingest-node", arguments, environment: environment, sign: "listening for pushes", folder: folder)
      do {
        try await node.start()
        return (node, ports)
      } catch {
        last = error
        try await node.kill()
      }
    }
    throw Trouble(description: "\(role) couldn't be started twenty times; at last: \(last.map { "\($0)" } ?? "-")")
  }

  // MARK: Commands

  /// Runs a command of ours to its end.
  @discardableResult
  func run(_ command: String, _ arguments: [String], within limit: Duration) async throws -> ServiceProcess {
    let process = try await ServiceProcess.start(command, arguments, environment: environment)
    do {
      _ = try await process.waitForExit(within: limit)
    } catch {
      process.kill9()
      throw error
    }
    try await eventually("its output is read to the end") { process.standardOutput.isComplete }
    return process
  }

  /// Sends Redis one command, past all proxies.
  @discardableResult
  func command(_ name: String, _ arguments: any RedisArgument...) async throws -> RedisReply {
    try await command(name, arguments: arguments, within: .seconds(5))
  }

  @discardableResult
  func command(
    _ name: String, arguments: [any RedisArgument], within limit: TimeAmount
  ) async throws -> RedisReply {
    var options = RedisOptions(name: "chaos")
    options.connectDeadline = min(limit, .seconds(2))
    options.commandDeadline = limit
    let connection = try await RedisConnection.connected(
      to: redis.endpoint, options: options, on: MultiThreadedEventLoopGroup.singleton.any())
    defer { connection.close() }
    return try await connection.execute(RedisCommand(name, arguments: arguments)).orThrow()
  }

  // MARK: Filling Redis

  private static let filler = "chaos-filler"

  /// Makes a key so large that nothing more may be written.
  func fillRedis() async throws {
    let info = try await command("INFO", "memory").string()
    guard let used = info.firstMatch(of: /used_memory:(\d+)/).flatMap({ Int($0.1) }) else {
      throw Trouble(description: "Redis doesn't say how much memory it uses")
    }
    try await command("SETRANGE", Self.filler, max(Self.maxMemory - used, 0) + (1 << 20), "x")
  }

  func emptyRedis() async throws { try await command("UNLINK", Self.filler) }

  // MARK: The end of a round

  /// Undoes whatever a fault may have left.
  func restore() async throws {
    for link in links.values { link.set(.fair) }
    if redis.pid == nil { try await redis.restart() }
    try redis.resume()
    try await eventually(within: .seconds(10), "the filler is gone") {
      try await emptyRedis()
      return true
    }
    try await command("CLIENT", "UNPAUSE")
    try spool?.empty()
    for member in members { try await member.restore() }
  }

  /// Copies what Redis has on its disk to where the logs are.
  func keepRedisFiles() {
    do {
      try FileManager.default.copyItem(
        atPath: redis.folder.path("appendonlydir"), toPath: folder.path + "/appendonlydir")
    } catch {
      say("Redis's files couldn't be kept: \(error)")
    }
  }

  /// The ends of all logs.
  func lastWords() -> String {
    for (name, text) in [("redis", redis.log)] {
      do { try text.write(to: folder.appending(path: "\(name).log"), atomically: true, encoding: .utf8) } catch {
        say("\(name).log can't be written: \(error)")
      }
    }
    return
      (members.map { $0.lastWords(12) }
      + ["--- redis, the end of its log\n\(redis.log.split(separator: "\n").suffix(8).joined(separator: "\n"))"])
      .joined(separator: "\n")
  }
}
