import KeyReplica
import KeyStore
import NIOPosix
import RedisClient
import RedisFixture
import Testing

/// Changes reach every node, and no node refuses what the publisher has answered for.
struct PropagationTests {
  @Test func `a key put a moment ago is refused by no node, ten thousand times`() async throws {
    let deployment = try await Deployment()
    try await deployment.publish(keys: 100)
    let nodes = [try await deployment.startNode("node-1"), try await deployment.startNode("node-2")]
    for node in nodes { try await node.becomesReady() }
    let rounds = 10_000
    let lanes = 8
    try await withThrowingTaskGroup(of: Int.self) { group in
      for lane in 0..<lanes {
        group.addTask {
          let connection = try await RedisConnection.connected(
            to: deployment.redis.endpoint, on: MultiThreadedEventLoopGroup.singleton.any())
          defer { connection.close() }
          let writer = KeyStoreWriter(connection: connection, layout: StoreLayout())
          var accepted = 0
          for round in stride(from: lane, to: rounds, by: lanes) {
            let key = "sk_fresh_\(round)"
            _ = try await writer.apply([
              KeyEdit(key: KeyID(secret: key.utf8), kind: .put(account: "fresh", .active))
            ])
            // The answer is there: from now on the key is active, wherever it is shown.
            let answer = try await nodes[round % 2].push(key: key)
            #expect(answer.status == 202 || answer.status == 503, "round \(round): \(answer.status) \(answer.body)")
            if answer.status == 202 { accepted += 1 }
          }
          return accepted
        }
      }
      let accepted = try await group.reduce(0, +)
      // If most had been undecided, it would have proven little.
      #expect(accepted > rounds * 99 / 100)
    }
  }

  @Test func `a revoked or suspended key is refused by every node within a second`() async throws {
    let deployment = try await Deployment()
    try await deployment.publish(keys: 100)
    let nodes = [try await deployment.startNode("node-1"), try await deployment.startNode("node-2")]
    for node in nodes {
      try await node.becomesReady()
      #expect(try await node.push(key: Deployment.key(5)).status == 202)
      #expect(try await node.push(key: Deployment.key(6)).status == 202)
    }
    try await deployment.run("key-publisher", ["revoke", "--key", Deployment.key(5)])
    try await deployment.run("key-publisher", ["suspend", "--key", Deployment.key(6)])
    for node in nodes {
      for (key, error) in [(Deployment.key(5), "revoked_key"), (Deployment.key(6), "suspended_key")] {
        try await eventually(within: .seconds(1), "\(node.name) answers \(error)") {
          let answer = try await node.push(key: key)
          return answer.status == 403 && answer.member("error") == error && answer.body.contains("\"proof\"")
        }
      }
    }
    try await deployment.run(
      "key-publisher", ["put", "--reactivate", "--account", "account-6", "--key", Deployment.key(6)])
    for node in nodes { #expect(try await node.push(key: Deployment.key(6)).status == 202) }
  }

  @Test func `sync-status wait tells a deploy script when the nodes are in sync`() async throws {
    let deployment = try await Deployment()
    let waiting = try await ServiceProcess.start(
      "sync-status", ["wait", "--count", "2", "--timeout", "60"],
      environment: ["SLUICE_REDIS": "\(deployment.redis.tcpEndpoint)"])
    let first = try await deployment.startNode("node-1")
    let second = try await deployment.startNode("node-2")
    try await deployment.run("sync-status", [], expecting: .exited(1))
    #expect(waiting.status == nil)
    try await deployment.publish(keys: 1000)
    #expect(try await waiting.waitForExit(within: .seconds(20)) == .exited(0))
    try await eventually("the fleet is in sync") {
      try await deployment.run("sync-status", [], expecting: nil).status == .exited(0)
    }
    second.process.kill9()
    _ = try await second.process.waitForExit()
    try await eventually(within: .seconds(20), "a node that died is noticed") {
      try await deployment.run("sync-status", [], expecting: nil).status == .exited(1)
    }
    #expect(first.process.status == nil)
    try await deployment.redis.stop()
    try await deployment.run("sync-status", [], expecting: .exited(2))
  }
}
