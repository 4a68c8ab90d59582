// A Redis Cluster of three primaries, made by redis-cli as an operator would, and a slot of it on the move: step by step, so that a test can
// look at what happens in between.

import Foundation
import Hiredis
public import RedisClient

/// A running cluster. Killed with this object, and with the test process.
public final class RedisCluster: Sendable {
  public let nodes: [RedisServer]
  private let ids: [String]

  private init(nodes: [RedisServer], ids: [String]) {
    self.nodes = nodes
    self.ids = ids
  }

  public static func start(appendOnly: RedisServerOptions.AppendOnly = .off) async throws -> RedisCluster {
    let options = RedisServerOptions {
      $0.appendOnly = appendOnly
      $0.arguments = ["--cluster-enabled", "yes", "--cluster-node-timeout", "2000"]
    }
    var nodes: [RedisServer] = []
    for _ in 0..<3 { nodes.append(try await RedisServer.start(options)) }
    try await ChildProcess.run(
      "redis-cli",
      ["--cluster", "create"] + nodes.map { "127.0.0.1:\($0.port)" } + ["--cluster-replicas", "0", "--cluster-yes"],
      within: .seconds(60))
    var ids: [String] = []
    for node in nodes {
      ids.append(try await node.run("CLUSTER", "MYID").string())
      try await eventually(within: .seconds(20), "a node finds the cluster whole") {
        try await node.run("CLUSTER", "INFO").string().contains("cluster_state:ok")
      }
    }
    return RedisCluster(nodes: nodes, ids: ids)
  }

  public var endpoint: RedisEndpoint {
    RedisEndpoint(address: .cluster(seeds: nodes.map { RedisHost("127.0.0.1", port: $0.port) }))
  }

  public func slot(of key: String) async throws -> Int64 { try await nodes[0].run("CLUSTER", "KEYSLOT", key).integer() }

  /// Which node has a slot, by that node's own word.
  public func owner(of slot: Int64) async throws -> Int {
    for (place, node) in nodes.enumerated() {
      for range in try await node.run("CLUSTER", "SLOTS").array().map({ try $0.array() }) {
        let isHere = try range[2].array()[2].string() == ids[place]
        if isHere, try (range[0].integer()...range[1].integer()).contains(slot) { return place }
      }
    }
    throw NeverHappened(description: "nobody has slot \(slot)")
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
      try await nodes[from].run("MIGRATE", "127.0.0.1", nodes[to].port, key, 0, 5_000)
    }
  }

  /// The slot belongs to the other node. The one that it came from hears it last.
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
    for node in nodes {
      if node.pid != nil { try await node.kill9() }
      node.folder.remove()
    }
  }
}
