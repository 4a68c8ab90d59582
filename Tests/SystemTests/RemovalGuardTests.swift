import Foundation
import KeyReplica
import KeyStore
import NIOPosix
import RedisClient
import RedisFixture
import Testing

/// A mistake at the store's side isn't carried out on customers.
struct RemovalGuardTests {
  @Test func `keys that are revoked in bulk without a word stay admitted until an operator confirms`() async throws {
    let deployment = try await Deployment()
    try await deployment.publish(keys: 1_000)
    let node = try await deployment.startNode("node-1")
    try await node.becomesReady()
    let connection = try await RedisConnection.connected(
      to: deployment.redis.endpoint, on: MultiThreadedEventLoopGroup.singleton.any())
    defer { connection.close() }
    let writer = KeyStoreWriter(connection: connection, layout: StoreLayout())
    // A job of somebody's that goes wrong: a fifth of all keys.
    _ = try await writer.apply(
      (0..<200).map { KeyEdit(key: KeyID(secret: Deployment.key($0).utf8), kind: .setState(.revoked)) })
    try await eventually("the node is guarded") {
      try await node.get("/status").body.contains(/"state" ?: ?"guarded"/)
    }
    for number in stride(from: 0, to: 200, by: 17) {
      #expect(try await node.push(key: Deployment.key(number)).status == 202)
    }
    #expect(try await node.push(key: "sk_nobody").status == 401)
    #expect(try await node.isReady())
    try await eventually("operators are told") {
      let status = try await deployment.run("sync-status", [], expecting: .exited(1))
      return status.standardOutput.text.contains("holds back removals")
    }
    try await deployment.run("key-publisher", ["confirm"])
    try await eventually("they are refused") { try await node.push(key: Deployment.key(17)).status == 403 }
    #expect(try await node.get("/status").body.contains(/"state" ?: ?"complete"/))
  }

  @Test func `a sync that somebody agreed to is carried out at once`() async throws {
    let deployment = try await Deployment()
    try await deployment.publish(keys: 1_000)
    let node = try await deployment.startNode("node-1")
    try await node.becomesReady()
    let list = deployment.folder.path("fewer.csv")
    let lines = ["key,account"] + (500..<1_000).map { "\(Deployment.key($0)),account" }
    try Data(lines.joined(separator: "\n").utf8).write(to: URL(fileURLWithPath: list))
    try await deployment.run("key-publisher", ["sync", list], expecting: .exited(1))
    #expect(try await node.push(key: Deployment.key(1)).status == 202)
    try await deployment.run("key-publisher", ["sync", list, "--max-revoked", "60"])
    try await eventually("they are refused") { try await node.push(key: Deployment.key(1)).status == 403 }
    #expect(try await node.get("/status").body.contains(/"state" ?: ?"complete"/))
    #expect(try await node.push(key: Deployment.key(600)).status == 202)
  }
}
