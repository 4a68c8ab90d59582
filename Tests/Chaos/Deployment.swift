// Sluice as it runs in production, on one machine: a Redis that syncs every write, nodes, and workers that share one sink. Of the usual two
// nodes and three workers the second of each kind, and the third worker, talk to Redis through a proxy each. Started once; the rounds kill
// and restart it piece by piece.

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

  /// What is started.
  enum Shape: Sendable {
    /// One Redis, two nodes, three workers.
    case single
    /// A Redis with a replica, one node that acknowledges what the replica has, one worker.
    case replicated
  }

  private enum Server: Sendable {
    case single(RedisServer)
    case replicated(ReplicatedRedis)
  }

  static let maxMemory = 64 << 20
  /// The index of the node with a state file. After a restart its mirror may be about a minute old.
  static let nodeWithState = 0

  let folder: URL
  private let server: Server
  private let links: [Role: FaultProxy]
  let spool: SpoolDisk?
  let nodes: [Member]
  let ports: [Ports]
  let workers: [Member]

  private init(
    folder: URL, server: Server, links: [Role: FaultProxy], spool: SpoolDisk?, nodes: [Member], ports: [Ports],
    workers: [Member]
  ) {
    self.folder = folder
    self.server = server
    self.links = links
    self.spool = spool
    self.nodes = nodes
    self.ports = ports
    self.workers = workers
  }

  var members: [Member] { nodes + workers }
  var database: String { Self.database(in: folder) }
  private static func database(in folder: URL) -> String { folder.appending(path: "payloads.sqlite").path }

  /// The Redis that is in charge.
  var redis: RedisServer {
    switch server {
    case .single(let redis): redis
    case .replicated(let redis): redis.primary
    }
  }

  /// Nil where Redis stands alone.
  var replicated: ReplicatedRedis? {
    if case .replicated(let redis) = server { redis } else { nil }
  }

  subscript(role: Role) -> Member {
    switch role {
    case .node(let place): nodes[place]
    case .worker(let place): workers[place]
    }
  }

  func link(_ role: Role) -> FaultProxy? { links[role] }

  var means: Plan.Means {
    Plan.Means(
      nodes: nodes.count, workers: workers.count, links: links.keys.sorted { "\($0)" < "\($1)" },
      hasSpoolDisk: spool?.isSeparate ?? false)
  }

  // MARK: Starting

  /// Arguments of all commands. There are two shards, to test that each shard keeps the promises.
  static func environment(redis port: Int) -> [String: String] {
    ["SLUICE_REDIS": "redis://127.0.0.1:\(port)", "SLUICE_QUEUE_SHARDS": "2"]
  }

  static func start(_ shape: Shape, on build: RedisBuild, in folder: URL) async throws -> Deployment {
    let loop = MultiThreadedEventLoopGroup.singleton.any()
    let server: Server
    let address: Int
    var links: [Role: FaultProxy] = [:]
    switch shape {
    case .single:
      let redis = try await RedisServer.start(
        RedisServerOptions {
          $0.build = build
          $0.appendOnly = .always
          $0.maxMemory = maxMemory
        })
      for role in [Role.node(1), .worker(1), .worker(2)] {
        links[role] = try await FaultProxy.start(before: redis.port, on: loop)
      }
      server = .single(redis)
      address = redis.port
    case .replicated:
      let redis = try await ReplicatedRedis.start(build, on: loop)
      server = .replicated(redis)
      address = redis.address.port
    }
    func environment(_ role: Role) -> [String: String] {
      Self.environment(redis: links[role]?.port ?? address)
    }
    let spool = shape == .single ? try await SpoolDisk.mount(in: folder) : nil
    var nodes: [Member] = []
    var ports: [Ports] = []
    for place in 0..<(shape == .single ? 2 : 1) {
      let role = Role.node(place)
      var arguments: [String] = []
      if place == nodeWithState {
        let state = folder.appending(path: "state").path
        try FileManager.default.createDirectory(atPath: state, withIntermediateDirectories: true)
        arguments += ["--state-dir", state]
      }
      if shape == .replicated { arguments += ["--require-durability", "replicas:1"] }
      if let spool { arguments += try spool.arguments(of: role) }
      let (node, its) = try await startNode(role, arguments, environment(role), folder)
      nodes.append(node)
      ports.append(its)
    }
    var workers: [Member] = []
    for place in 0..<(shape == .single ? 3 : 1) {
      let role = Role.worker(place)
      // Small batches: many claims, so that a kill finds one at each of its steps.
      let worker = Member(
        role, "ingest-worker",
        [
          "--name", "\(role)", "--sink", "sqlite:\(database(in: folder))", "--batch", "20", "--lanes", "2", "--lease",
          "1s", "--deaths", "100", "--attempts", "100", "--drain", "2s",
        ], environment: environment(role), sign: "worker started", folder: folder)
      try await worker.start()
      workers.append(worker)
    }
    return Deployment(
      folder: folder, server: server, links: links, spool: spool, nodes: nodes, ports: ports, workers: workers)
  }

  /// The same ports across all restarts, below those that the system gives to outgoing connections.
  private static func startNode(
    _ role: Role, _ arguments: [String], _ environment: [String: String], _ folder: URL
  ) async throws -> (Member, Ports) {
    var last: (any Error)?
    for _ in 1...20 {
      let port = Int.random(in: 10_000..<31_999)
      let ports = Ports(push: port, admin: port + 1)
      let node = Member(
        role, "ingest-node",
        [
          "--name", "\(role)", "--listen", "127.0.0.1:\(ports.push)", "--admin", "127.0.0.1:\(ports.admin)", "--grace",
          "0s", "--stop-deadline", "3s", "--threads", "2",
        ] + arguments, environment: environment, sign: "listening for pushes", folder: folder)
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

  // MARK: The end of a round

  /// Undoes whatever a fault may have left.
  func restore() async throws {
    for link in links.values { link.set(.fair) }
    if let replicated {
      try await replicated.restore()
    } else {
      if redis.pid == nil { try await redis.restart() }
      try redis.resume()
    }
    try await eventually(within: .seconds(10), "the filler is gone") {
      try await emptyRedis()
      return true
    }
    try await command("CLIENT", "UNPAUSE")
    try spool?.empty()
    for member in members { try await member.restore(mayHaveEnded: replicated != nil) }
  }

  /// Ends all nodes and workers in good order.
  func end() async throws {
    for member in members { try await member.end(within: .seconds(15)) }
  }
}
