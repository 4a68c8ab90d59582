// A Redis Cluster of three primaries, made by redis-cli as an operator would, and a slot of it on the move: step by step, so that a test can
// look at what happens in between. One of its nodes can be cut off from the others.

import Foundation
import Hiredis
public import RedisClient

/// How a test's cluster is set up.
public struct RedisClusterOptions: Sendable {
  public var appendOnly = RedisServerOptions.AppendOnly.off
  /// Of each primary.
  public var replicas = 0
  /// Whether nodes speak TLS, with clients and with each other: then they are Debian's.
  public var tls = false
  /// Whether the nodes announce themselves by names that lead nowhere: `node-N.invalid`.
  public var isBehindNAT = false
  /// Whether nodes can be cut off from the others.
  public var canBeCut = false

  public init(_ change: (inout RedisClusterOptions) -> Void = { _ in }) { change(&self) }
}

/// A running cluster. Killed with this object, and with the test process.
public final class RedisCluster: Sendable {
  /// First the primaries.
  public let nodes: [RedisServer]
  private let options: RedisClusterOptions
  private let ids: [String]
  private let buses: [ClusterBus]

  private init(nodes: [RedisServer], options: RedisClusterOptions, ids: [String], buses: [ClusterBus]) {
    self.nodes = nodes
    self.options = options
    self.ids = ids
    self.buses = buses
  }

  public static func start(appendOnly: RedisServerOptions.AppendOnly = .off) async throws -> RedisCluster {
    try await start(RedisClusterOptions { $0.appendOnly = appendOnly })
  }

  private static func source(_ node: Int) -> String { "127.0.0.\(10 + node)" }

  private static func start(
    node number: Int, _ options: RedisClusterOptions, authority: RedisServer?
  ) async throws -> RedisServer {
    try await RedisServer.start(
      RedisServerOptions {
        $0.appendOnly = options.appendOnly
        $0.tls = options.tls
        $0.authority = authority
        $0.arguments = [
          "--cluster-enabled", "yes", "--cluster-node-timeout", "2000", "--repl-diskless-sync-delay", "0",
        ]
        if options.tls { $0.arguments += ["--tls-cluster", "yes", "--tls-replication", "yes"] }
        if options.isBehindNAT {
          $0.arguments += [
            "--cluster-announce-hostname", "node-\(number).invalid", "--cluster-preferred-endpoint-type", "hostname",
          ]
        }
        if options.canBeCut {
          $0.arguments += [
            "--bind-source-addr", source(number), "--cluster-announce-ip", "127.0.0.1", "--protected-mode", "no",
          ]
        }
      })
  }

  public static func start(_ options: RedisClusterOptions) async throws -> RedisCluster {
    var nodes: [RedisServer] = []
    for number in 0..<3 * (1 + options.replicas) {
      nodes.append(try await start(node: number, options, authority: nodes.first))
    }
    try await ChildProcess.run(
      "redis-cli",
      (options.tls ? ["--tls", "--cacert", nodes[0].folder.path("ca.crt")] : []) + ["--cluster", "create"]
        + nodes.map { "127.0.0.1:\(port(of: $0, options))" }
        + ["--cluster-replicas", "\(options.replicas)", "--cluster-yes"],
      within: .seconds(60))
    for node in nodes.prefix(3) {
      try await eventually(within: .seconds(20), "a primary's replicas follow") {
        try await node.run("ROLE").array()[2].array().count == options.replicas
      }
    }
    var ids: [String] = []
    var buses: [ClusterBus] = []
    for node in nodes {
      ids.append(try await node.run("CLUSTER", "MYID").string())
      guard options.canBeCut else { continue }
      let bus = try await ClusterBus.start(to: node.port + 10_000)
      buses.append(bus)
      try await node.run("CONFIG", "SET", "cluster-announce-bus-port", bus.port)
    }
    for node in nodes {
      try await eventually(within: .seconds(20), "a node finds the cluster whole") {
        let state = try await node.run("CLUSTER", "INFO").string()
        let known = try await node.run("CLUSTER", "NODES").string()
        return state.contains("cluster_state:ok") && buses.allSatisfy { known.contains("@\($0.port)") }
      }
    }
    return RedisCluster(nodes: nodes, options: options, ids: ids, buses: buses)
  }

  /// By which clients, and with TLS nodes as well, reach a node.
  private static func port(of node: RedisServer, _ options: RedisClusterOptions) -> Int {
    options.tls ? node.tlsPort : node.port
  }

  private func port(of node: Int) -> Int { Self.port(of: nodes[node], options) }

  /// As clients reach it.
  public var endpoint: RedisEndpoint {
    var endpoint = RedisEndpoint(
      address: .cluster(seeds: nodes.map { RedisHost("127.0.0.1", port: Self.port(of: $0, options)) }))
    endpoint.usesTLS = options.tls
    if options.tls { endpoint.certificateAuthority = nodes[0].folder.path("ca.crt") }
    return endpoint
  }

  /// The same for a command line.
  public var url: String { url(of: endpoint) }

  /// By way of each node alone.
  public var seedURLs: [String] {
    var endpoint = endpoint
    guard case .cluster(let seeds) = endpoint.address else { return [] }
    return seeds.map {
      endpoint.address = .cluster(seeds: [$0])
      return url(of: endpoint)
    }
  }

  private func url(of endpoint: RedisEndpoint) -> String {
    "\(endpoint)" + (endpoint.certificateAuthority.map { "?cafile=\($0)" } ?? "")
  }

  /// The address map for clients, if the nodes announce names that lead nowhere.
  public var addressMap: String {
    nodes.indices.map { "node-\($0).invalid=127.0.0.1" }.joined(separator: ",")
  }

  // MARK: Partitions

  /// Cuts this node off from the others; clients still reach all of them.
  public func cutOff(_ node: Int) {
    precondition(options.canBeCut, "this cluster was started without relays")
    let everybody = Set(nodes.indices.map(Self.source))
    for (number, bus) in buses.enumerated() { bus.shut(to: number == node ? everybody : [Self.source(node)]) }
  }

  /// Undoes ``cutOff(_:)``.
  public func rejoin() {
    for bus in buses { bus.shut(to: []) }
  }

  /// Waits until all nodes except one say that another node has the slot.
  public func promoted(for slot: Int64, besides former: Int) async throws -> Int {
    var found: Int?
    try await eventually(within: .seconds(30), "a replica is promoted") {
      found = nil
      for (number, node) in nodes.enumerated() where number != former && node.pid != nil {
        let owner = try await owner(of: slot, accordingTo: node)
        guard owner != former, found == nil || found == owner else { return false }
        found = owner
      }
      return found != nil
    }
    guard let found else { throw NeverHappened(description: "nobody has slot \(slot)") }
    return found
  }

  // MARK: Slots

  public func slot(of key: String) async throws -> Int64 { try await nodes[0].run("CLUSTER", "KEYSLOT", key).integer() }

  /// Which node has a slot, by that node's own word.
  public func owner(of slot: Int64) async throws -> Int {
    for (place, node) in nodes.enumerated() where try await owner(of: slot, accordingTo: node) == place { return place }
    throw NeverHappened(description: "nobody has slot \(slot)")
  }

  private func owner(of slot: Int64, accordingTo node: RedisServer) async throws -> Int? {
    for range in try await node.run("CLUSTER", "SLOTS").array().map({ try $0.array() }) {
      guard try (range[0].integer()...range[1].integer()).contains(slot) else { continue }
      return try ids.firstIndex(of: range[2].array()[2].string())
    }
    return nil
  }

  /// From now on what isn't at the one node any more is at the other, or will be.
  public func beginMove(of slot: Int64, from: Int, to: Int) async throws {
    try await nodes[to].run("CLUSTER", "SETSLOT", slot, "IMPORTING", ids[from])
    try await nodes[from].run("CLUSTER", "SETSLOT", slot, "MIGRATING", ids[to])
  }

  /// Moves the keys, until none is left.
  public func moveKeys(of slot: Int64, from: Int, to: Int) async throws {
    while true {
      let keys = try await nodes[from].run("CLUSTER", "GETKEYSINSLOT", slot, 1).array()
      guard let key = try keys.first?.bytes() else { return }
      try await nodes[from].run("MIGRATE", "127.0.0.1", port(of: to), key, 0, 5_000)
    }
  }

  /// The slot belongs to the other node. The former owner is told last.
  public func endMove(of slot: Int64, from: Int, to: Int) async throws {
    try await nodes[to].run("CLUSTER", "SETSLOT", slot, "NODE", ids[to])
    for (place, node) in nodes.enumerated() where place != to && place != from {
      try await node.run("CLUSTER", "SETSLOT", slot, "NODE", ids[to])
    }
    try await nodes[from].run("CLUSTER", "SETSLOT", slot, "NODE", ids[to])
    // The new owner has begun an epoch. One that took the slot next and didn't know of it would begin the same, and which of
    // the two has the slot then is anybody's guess.
    try await eventually(within: .seconds(20), "all nodes know the epoch") {
      var epochs: Set<Substring> = []
      for node in nodes {
        let lines = try await node.run("CLUSTER", "INFO").string().split(whereSeparator: \.isNewline)
        epochs.formUnion(lines.filter { $0.hasPrefix("cluster_current_epoch:") })
      }
      return epochs.count == 1
    }
  }

  public func move(_ slot: Int64, from: Int, to: Int) async throws {
    try await beginMove(of: slot, from: from, to: to)
    try await moveKeys(of: slot, from: from, to: to)
    try await endMove(of: slot, from: from, to: to)
  }

  public func end() async throws {
    for bus in buses { bus.end() }
    for node in nodes {
      if node.pid != nil { try await node.kill9() }
      node.folder.remove()
    }
  }
}
