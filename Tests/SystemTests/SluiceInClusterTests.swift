// Everything in a Redis Cluster: the keys in one slot, the fleet in another, each shard of the queue in one of its own.

import Foundation
import Hiredis
import NIOPosix
import RedisClient
import RedisFixture
import Testing

@Suite(.timeLimit(.minutes(3))) struct SluiceInClusterTests {
  private static let keysSlot = "sluice:{keys}:slot"

  private func deployment(
    in cluster: RedisCluster, user: String? = nil, _ settings: [String: String] = [:]
  ) throws -> Deployment {
    let url = user.map { cluster.url.replacing("://", with: "://\($0):\($0)@") } ?? cluster.url
    return try Deployment(
      redis: cluster.nodes[0], settings: ["SLUICE_REDIS": url].merging(settings) { _, given in given })
  }

  /// Ends the cluster after the body, and not the test's last words where that throws.
  private func with(
    _ options: RedisClusterOptions, _ body: (RedisCluster) async throws -> Void
  ) async throws {
    let cluster = try await RedisCluster.start(options)
    try await body(cluster)
    try await cluster.end()
  }

  private func refusesStrangers(_ node: Node) async throws {
    try await eventually(within: .seconds(30), "a key that nobody has is refused, with a proof") {
      let answer = try await node.push(key: "sk_nobody")
      return answer.status == 401 && answer.body.contains("proof")
    }
  }

  private func isWell(_ deployment: Deployment) async throws {
    try await eventually(within: .seconds(60), "sync-status says that all is well") {
      try await deployment.run("sync-status", [], expecting: nil).status == .exited(0)
    }
  }

  private func end(_ processes: [ServiceProcess]) async throws {
    for process in processes {
      process.terminate()
      #expect(try await process.waitForExit() == .exited(0), "\(process.outputs)")
    }
  }

  /// All that was acknowledged is stored, once.
  private func expectStored(_ pushes: [NumberedPushes.Push], in deployment: Deployment) async throws {
    let promised = Set(pushes.map(\.number))
    func numbers() throws -> [Int] { try deployment.stored().map { try NumberedPushes.number(in: $0.body) } }
    try await eventually(within: .seconds(60), "all \(promised.count) are stored") {
      try Set(numbers()).isSuperset(of: promised)
    }
    let stored = try numbers()
    #expect(Set(stored).count == stored.count, "a payload is stored twice")
  }

  /// The replica of a slot has all that was written up to now: replication is one stream.
  private func replicated(_ cluster: RedisCluster, _ slot: Int64, tag: String) async throws {
    let connection = try await RedisConnection.connected(
      to: cluster.nodes[cluster.owner(of: slot)].endpoint, on: MultiThreadedEventLoopGroup.singleton.any())
    defer { connection.close() }
    let confirmed = try await connection.execute([
      RedisCommand("SET", "{\(tag)}marker", 1), RedisCommand("WAIT", 1, 5_000),
    ])
    #expect(confirmed == [.status("OK"), .integer(1)])
  }

  @Test func `the keys' primary fails: no active key is refused, and its replica takes its place`() async throws {
    try await with(RedisClusterOptions { ($0.replicas, $0.appendOnly) = (1, .always) }) { cluster in
      let deployment = try deployment(in: cluster)
      try await deployment.publish(keys: 100)
      let node = try await deployment.startNode("node-1", ["--require-durability", "replicas:1"])
      try await node.becomesReady()
      let worker = try await deployment.startWorker("worker-1", ["--lease", "2", "--when-revoked", "discard"])
      try await refusesStrangers(node)
      try await isWell(deployment)
      let slot = try await cluster.slot(of: Self.keysSlot)
      let former = try await cluster.owner(of: slot)
      let pushes = NumberedPushes(to: node)
      try await pushes.running(lanes: 4) {
        try await pushes.goOn(for: 200)
        try await replicated(cluster, slot, tag: "keys")
        try await cluster.nodes[former].kill9()
        _ = try await cluster.promoted(for: slot, besides: former)
        let promoted = ContinuousClock.now
        // One of two servers is gone, so no majority can confirm the primary until the server is back as a replica.
        try await cluster.nodes[former].restart()
        try await eventually(within: .seconds(40), "a put is confirmed") {
          try await deployment.run(
            "key-publisher", ["put", "--key", "sk_new", "--account", "account-new"], expecting: nil
          ).status == .exited(0)
        }
        try await eventually(within: .seconds(20), "the new key is admitted") {
          try await node.push(Array(#"{"number":1000000}"#.utf8), key: "sk_new").status == 202
        }
        try await refusesStrangers(node)
        try await pushes.goOn(for: 200)
        print(
          "CLUSTER | the keys' primary killed | refusals are proven \(ContinuousClock.now - promoted) after the promotion"
        )
      }
      let statuses = Dictionary(grouping: pushes.answered, by: \.status).mapValues(\.count)
      #expect(Set(statuses.keys).isSubset(of: [202, 503, 504]), "\(statuses): an active key was refused")
      try await expectStored(pushes.acknowledged, in: deployment)
      try await isWell(deployment)
      try await end([worker, node.process])
    }
  }

  @Test func `while the keys' slot moves, active keys are admitted, and afterwards refusals are proven again`()
    async throws
  {
    try await with(RedisClusterOptions { $0.appendOnly = .everysec }) { cluster in
      try await cluster.giveUsers()
      func user(_ name: String) throws -> Deployment { try deployment(in: cluster, user: name) }
      // Without replicas of its own, and so that nobody waits for any.
      try await user("sluice-publisher").publish(keys: 100, expecting: .exited(75))
      try await user("sluice-publisher").run("key-publisher", ["replicas", "0"])
      let node = try await user("sluice-node").startNode("node-1")
      try await node.becomesReady()
      let workers = try user("sluice-worker")
      let worker = try await workers.startWorker("worker-1", ["--lease", "2"])
      try await refusesStrangers(node)
      let slot = try await cluster.slot(of: Self.keysSlot)
      let pushes = NumberedPushes(to: node)
      try await pushes.running(lanes: 4) {
        for round in 0..<2 {
          let home = try await cluster.owner(of: slot)
          let next = (home + 1) % 3
          try await cluster.beginMove(of: slot, from: home, to: next)
          try await pushes.goOn(for: 100)
          try await cluster.moveKeys(of: slot, from: home, to: next)
          try await pushes.goOn(for: 100)
          // Its keys are on their way.
          let put = try await user("sluice-publisher").run(
            "key-publisher", ["put", "--key", "sk_new_\(round)", "--account", "account-new"], expecting: .exited(75))
          #expect(put.standardError.text.contains("not done: the slot of the keys is moving"), "\(put.outputs)")
          #expect(put.standardError.text.contains("Run the command again"), "\(put.outputs)")
          #expect(try await [401, 503].contains(node.push(key: "sk_nobody").status))
          try await cluster.endMove(of: slot, from: home, to: next)
          try await user("sluice-publisher").run(
            "key-publisher", ["put", "--key", "sk_new_\(round)", "--account", "account-new"])
          try await eventually(within: .seconds(20), "the new key is admitted") {
            try await node.push(Array(#"{"number":100000\#(round)}"#.utf8), key: "sk_new_\(round)").status == 202
          }
          try await refusesStrangers(node)
          try await pushes.goOn(for: 100)
        }
      }
      #expect(pushes.answered.allSatisfy { $0.status == 202 }, "an active key heard something else")
      try await expectStored(pushes.acknowledged, in: workers)
      try await isWell(user("sluice-status"))
      try await end([worker, node.process])
      #expect(!node.process.outputs.contains("NOPERM"), "\(node.process.outputs)")
    }
  }

  /// With one hash tag for everything, so that the node that is cut off has had everything.
  @Test func `a primary that is cut off from its cluster is left for the one that took its place`() async throws {
    try await with(RedisClusterOptions { ($0.replicas, $0.appendOnly, $0.canBeCut) = (1, .always, true) }) { cluster in
      let deployment = try deployment(in: cluster, ["SLUICE_NAMESPACE": "{sluice}"])
      try await deployment.publish(keys: 100)
      let node = try await deployment.startNode("node-1")
      try await node.becomesReady()
      let worker = try await deployment.startWorker("worker-1", ["--lease", "2"])
      try await refusesStrangers(node)
      let slot = try await cluster.slot(of: "{sluice}:keys:slot")
      let former = try await cluster.owner(of: slot)
      let pushes = NumberedPushes(to: node)
      let (before, moved) = try await pushes.running(lanes: 4) {
        try await pushes.goOn(for: 200)
        let before = pushes.acknowledged
        try await replicated(cluster, slot, tag: "sluice")
        cluster.cutOff(former)
        _ = try await cluster.promoted(for: slot, besides: former)
        let promoted = ContinuousClock.now
        try await pushes.goOn(for: 1)
        let moved = ContinuousClock.now
        print("CLUSTER | a primary cut off | a push is acknowledged \(moved - promoted) after the promotion")
        // It is still alone, and says so.
        #expect(try await cluster.nodes[former].run("CLUSTER", "INFO").string().contains("cluster_state:fail"))
        try await pushes.goOn(for: 200)
        cluster.rejoin()
        try await refusesStrangers(node)
        try await pushes.goOn(for: 100)
        return (before, moved)
      }
      let statuses = Dictionary(grouping: pushes.answered, by: \.status).mapValues(\.count)
      #expect(Set(statuses.keys).isSubset(of: [202, 503, 504]), "\(statuses): an active key was refused")
      try await expectStored(before + pushes.acknowledged.filter { $0.sentAt > moved }, in: deployment)
      try await isWell(deployment)
      try await end([worker, node.process])
    }
  }

  @Test func `with TLS, behind NAT, and where nobody may ask for the slots`() async throws {
    try await with(RedisClusterOptions { ($0.tls, $0.isBehindNAT) = (true, true) }) { cluster in
      let slot = try await cluster.slot(of: Self.keysSlot)
      let home = try await cluster.owner(of: slot)
      for node in cluster.nodes { try await node.run("ACL", "SETUSER", "default", "-cluster|slots") }
      let seed = try #require(cluster.seedURLs.enumerated().first { $0.offset != home }).element
      let lost = try deployment(in: cluster, ["SLUICE_REDIS": seed])
      let status = try await lost.run("sync-status", [], expecting: .exited(2))
      let said = try #require(
        status.standardError.text.firstMatch(of: /can't reach (node-\d\.invalid:\d+), which 127\.0\.0\.1:\d+ names/))
      #expect(status.standardError.text.contains("use --redis-address-map \(said.1)=HOST:PORT"), "\(status.outputs)")

      let deployment = try deployment(in: cluster, ["SLUICE_REDIS_ADDRESS_MAP": cluster.addressMap])
      try await deployment.publish(keys: 100, expecting: .exited(75))
      try await deployment.run("key-publisher", ["replicas", "0"])
      let node = try await deployment.startNode("node-1", ["--queue-shards", "2"])
      try await node.becomesReady()
      let worker = try await deployment.startWorker("worker-1", ["--queue-shards", "2"])
      try await refusesStrangers(node)
      let pushes = NumberedPushes(to: node)
      try await pushes.running(lanes: 2) {
        try await pushes.goOn(for: 100)
        try await cluster.move(slot, from: home, to: (home + 1) % 3)
        try await refusesStrangers(node)
      }
      #expect(pushes.answered.allSatisfy { $0.status == 202 })
      try await expectStored(pushes.acknowledged, in: deployment)
      try await eventually(within: .seconds(60), "sync-status says that all is well") {
        try await deployment.run("sync-status", ["--queue-shards", "2"], expecting: nil).status == .exited(0)
      }
      try await end([worker, node.process])
    }
  }
}

extension RedisCluster {
  /// Gives all nodes the users that Deploy/redis/users.acl has, each with its own name as its password.
  func giveUsers() async throws {
    for line in try OperationsPage.file("Deploy/redis/users.acl").split(separator: "\n") {
      let words = line.split(separator: " ").map(String.init)
      for node in nodes where words[1].hasPrefix("sluice-") {
        let rule = ["SETUSER", words[1]] + words.dropFirst(2) + [">\(words[1])"]
        let connection = try await RedisConnection.connected(
          to: node.endpoint, on: MultiThreadedEventLoopGroup.singleton.any())
        defer { connection.close() }
        _ = try await connection.execute(RedisCommand("ACL", arguments: rule)).orThrow()
      }
    }
  }
}
