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
    let lines = ["key,account"] + (500..<1_000).map { "\(Deployment.key($0)),account-\($0 % 100)" }
    try Data((lines.joined(separator: "\n") + "\n").utf8).write(to: URL(fileURLWithPath: list))
    try await deployment.run("key-publisher", ["sync", list], expecting: .exited(3))
    #expect(try await node.push(key: Deployment.key(1)).status == 202)
    try await deployment.run("key-publisher", ["sync", list, "--max-revoked", "60"])
    try await eventually("they are refused") { try await node.push(key: Deployment.key(1)).status == 403 }
    #expect(try await node.get("/status").body.contains(/"state" ?: ?"complete"/))
    #expect(try await node.push(key: Deployment.key(600)).status == 202)
  }

  @Test(arguments: ["account,revoked", "account,suspended", "other,active"])
  func `a list that would end or move nearly all keys changes nothing that a node says`(rest: String) async throws {
    let deployment = try await Deployment()
    try await deployment.publish(keys: 1_000, accounts: 1)
    let node = try await deployment.startNode("node-1")
    try await node.becomesReady()
    let list = deployment.folder.path("broken.csv")
    let lines =
      ["key,account,state", "\(Deployment.key(0)),account-0,"]
      + (1..<1_000).map { "\(Deployment.key($0)),\(rest.replacing("account", with: "account-0"))" }
    try Data((lines.joined(separator: "\n") + "\n").utf8).write(to: URL(fileURLWithPath: list))
    for verb in ["sync", "import"] {
      let run = try await deployment.run("key-publisher", [verb, list], expecting: .exited(3))
      #expect(run.standardError.text.contains("999 of 1000 active keys"))
    }
    // A change that comes after the list's would have is known, so the list's would be.
    try await deployment.run("key-publisher", ["put", "--key", "sk_later", "--account", "later"])
    try await eventually("the node has heard of it") { try await node.push(key: "sk_later").status == 202 }
    for number in stride(from: 1, to: 1_000, by: 83) {
      #expect(try await node.push(key: Deployment.key(number)).status == 202)
    }
  }

  @Test func `what a list was allowed to end lets no other removals pass`() async throws {
    let deployment = try await Deployment()
    try await deployment.publish(keys: 1_000)
    let node = try await deployment.startNode("node-1")
    try await node.becomesReady()
    // The list says revoked of 900 keys that are revoked already, but for a hundred.
    let connection = try await RedisConnection.connected(
      to: deployment.redis.endpoint, on: MultiThreadedEventLoopGroup.singleton.any())
    defer { connection.close() }
    let writer = KeyStoreWriter(connection: connection, layout: StoreLayout())
    func revoke(_ numbers: Range<Int>) async throws {
      _ = try await writer.apply(
        numbers.map { KeyEdit(key: KeyID(secret: Deployment.key($0).utf8), kind: .setState(.revoked)) })
    }
    try await revoke(0..<50)
    let list = deployment.folder.path("ended.csv")
    let lines = ["key,account,state"] + (0..<150).map { "\(Deployment.key($0)),account-\($0 % 100),revoked" }
    try Data((lines.joined(separator: "\n") + "\n").utf8).write(to: URL(fileURLWithPath: list))
    let run = try await deployment.run("key-publisher", ["import", list, "--max-revoked", "20"])
    #expect(run.standardOutput.text.contains("100 revoked"))
    try await eventually("they are refused") { try await node.push(key: Deployment.key(149)).status == 403 }
    #expect(try await node.get("/status").body.contains(/"state" ?: ?"complete"/))
    // And then a job goes wrong.
    try await revoke(200..<350)
    try await eventually("the node is guarded") {
      try await node.get("/status").body.contains(/"state" ?: ?"guarded"/)
    }
    #expect(try await node.push(key: Deployment.key(300)).status == 202)
    #expect(try await node.push(key: Deployment.key(100)).status == 403)
  }

  @Test func `a put or a list that comes after a revoke leaves the key refused`() async throws {
    let deployment = try await Deployment()
    try await deployment.publish(keys: 100)
    let node = try await deployment.startNode("node-1")
    try await node.becomesReady()
    try await deployment.run("key-publisher", ["revoke", "--key", Deployment.key(1)])
    try await deployment.run("key-publisher", ["suspend", "--key", Deployment.key(2)])
    for number in [1, 2] {
      try await deployment.run(
        "key-publisher", ["put", "--key", Deployment.key(number), "--account", "account-\(number)"],
        expecting: .exited(4))
    }
    try await deployment.publish(keys: 100)
    try await deployment.run("key-publisher", ["put", "--key", "sk_later", "--account", "later"])
    try await eventually("the node has heard of it") { try await node.push(key: "sk_later").status == 202 }
    #expect(try await node.push(key: Deployment.key(1)).member("error") == "revoked_key")
    #expect(try await node.push(key: Deployment.key(2)).member("error") == "suspended_key")
  }
}
