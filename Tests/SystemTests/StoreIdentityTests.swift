// A node whose address leads to another store, and a store that was restored from an old backup: with real processes,
// as clients and operators see it.

import Foundation
import RedisFixture
import Testing

@Suite(.timeLimit(.minutes(5))) struct StoreIdentityTests {
  /// Production with a thousand keys, staging with three of its own.
  private func twoDeployments() async throws -> (production: Deployment, staging: Deployment) {
    let production = try await Deployment()
    try await production.run("key-publisher", ["create", "--name", "production"])
    try await production.publish(keys: 1_000)
    let staging = try await Deployment()
    try await staging.run("key-publisher", ["create", "--name", "staging"])
    let list = staging.folder.path("staging.csv")
    try Data("key,account\nsk_stage_1,tester\nsk_stage_2,tester\n".utf8).write(to: URL(fileURLWithPath: list))
    try await staging.run("key-publisher", ["import", list, "--seal"])
    return (production, staging)
  }

  private func expectNothingRefused(_ node: Node) async throws {
    for number in stride(from: 0, to: 1_000, by: 97) {
      #expect(try await node.push(key: Deployment.key(number)).status == 202)
    }
    for key in ["sk_nobody", "sk_stage_1"] {
      let answer = try await node.push(key: key)
      #expect(answer.status == 503 && answer.member("reason") == "wrong_store", "\(key): \(answer)")
    }
  }

  @Test
  func `with production's mirror a node refuses nobody on staging's word, and says which it expected and which it met`()
    async throws
  {
    let (production, staging) = try await twoDeployments()
    let folder = production.folder.path("state")
    let first = try await production.startNode("node-1", ["--state-dir", folder])
    try await first.process.waitForLine(containing: "first key store that it finds")
    try await first.becomesReady()
    let id = try await first.storeID()
    first.process.terminate()
    #expect(try await first.process.waitForExit() == .exited(0))

    // Its state folder, and staging's address.
    let second = try await staging.startNode("node-1", ["--state-dir", folder])
    let line = try await second.process.waitForLine(
      containing: "expected the store production (ID \(id)), found staging")
    #expect(line.contains("key-publisher adopt \(id)"))
    try await expectNothingRefused(second)
    #expect(try await !second.isReady())
    #expect(try await second.get("/metrics").body.contains("sluice_replica_wrong_store 1"))
    try await eventually("operators are told") {
      let run = try await staging.run("sync-status", [], expecting: .exited(1))
      return run.standardOutput.text.contains(
        "wrong: node-1 answers 503 to unknown keys, because it found the wrong store")
        && run.standardOutput.text.contains("key-publisher adopt \(id)")
    }
    // However often it starts there.
    second.process.terminate()
    #expect(try await second.process.waitForExit() == .exited(0))
    let third = try await staging.startNode("node-1", ["--state-dir", folder])
    try await third.process.waitForLine(containing: "expected the store production")
    try await expectNothingRefused(third)
    third.process.terminate()
    #expect(try await third.process.waitForExit() == .exited(0))

    let back = try await production.startNode("node-1", ["--state-dir", folder])
    try await back.becomesReady()
    #expect(try await back.push(key: Deployment.key(1)).status == 202)
    #expect(try await back.push(key: "sk_nobody").status == 401)
  }

  @Test func `a node that was told the name of its store goes by no other, and an adopted one is followed`()
    async throws
  {
    let (production, staging) = try await twoDeployments()
    let folder = production.folder.path("state")
    let first = try await production.startNode("node-1", ["--state-dir", folder, "--store", "production"])
    try await first.becomesReady()
    let id = try await first.storeID()
    first.process.terminate()
    #expect(try await first.process.waitForExit() == .exited(0))

    let cold = try await staging.startNode("node-2", ["--store", "production"])
    try await cold.process.waitForLine(containing: "expected the store production, found staging")
    for key in [Deployment.key(1), "sk_stage_1", "sk_nobody"] {
      #expect(try await cold.push(key: key).member("reason") == "wrong_store")
    }
    #expect(try await !cold.isReady())

    let warm = try await staging.startNode("node-1", ["--state-dir", folder])
    try await expectNothingRefused(warm)
    // An operator says that the one was replaced by the other.
    try await staging.run("key-publisher", ["adopt", id])
    try await eventually("the node mirrors it") { try await warm.push(key: "sk_stage_1").status == 202 }
    #expect(try await warm.push(key: Deployment.key(500)).status == 202)
    // A key can be admitted before the whole store has been read; a refusal needs all of it.
    try await eventually("an unknown key is refused") { try await warm.push(key: "sk_nobody").status == 401 }
    try await eventually("operators are told of what it lacks") {
      let run = try await staging.run("sync-status", [], expecting: .exited(1))
      return run.standardOutput.text.contains("wrong: 1,000 keys vanished from the store without being revoked")
        && run.standardOutput.text.contains("key-publisher confirm")
    }
    try await staging.run("key-publisher", ["confirm"])
    try await eventually("they are refused") { try await warm.push(key: Deployment.key(500)).status == 401 }
    #expect(try await warm.isReady())
  }

  @Test func `keys that a restored backup lacks stay admitted, over restarts, until they are put again or confirmed`()
    async throws
  {
    let redis = try await RedisServer.start(RedisServerOptions { $0.appendOnly = .off })
    let deployment = try Deployment(redis: redis)
    try await deployment.publish(keys: 1_000)
    let folder = deployment.folder.path("state")
    var node = try await deployment.startNode("node-1", ["--state-dir", folder])
    try await node.becomesReady()
    try await deployment.redis("SAVE")
    // The backup lacks 60 keys and a revocation.
    try await deployment.publish(keys: 1_060)
    try await deployment.run("key-publisher", ["revoke", "--key", Deployment.key(7)])
    try await eventually("the node knows them") {
      guard try await node.push(key: Deployment.key(1_059)).status == 202 else { return false }
      return try await node.push(key: Deployment.key(7)).status == 403
    }
    try await redis.restart()

    func expectHeld(_ moment: String) async throws {
      try await eventually("it is noticed \(moment)") {
        let run = try await deployment.run("sync-status", [], expecting: nil)
        return run.standardOutput.text.contains("wrong: 60 keys vanished from the store without being revoked")
          && run.standardOutput.text.contains("key-publisher confirm")
      }
      for number in 1_000..<1_060 {
        #expect(try await node.push(key: Deployment.key(number)).status == 202, "key \(number), \(moment)")
      }
      #expect(try await node.push(key: "sk_nobody").status == 401)
      #expect(try await node.get("/metrics").body.contains("sluice_replica_vanished_keys 60"))
      try await deployment.run("sync-status", [], expecting: .exited(1))
    }
    try await expectHeld("after the restore")
    let said = try await deployment.run("sync-status", [], expecting: .exited(1)).standardOutput.text
    #expect(
      said.contains(
        "wrong: the store lost changes (restored backup, failover): 1 suspended or revoked key is admitted again"))

    for moment in ["after a restart", "after a second restart"] {
      node.process.terminate()
      #expect(try await node.process.waitForExit() == .exited(0))
      node = try await deployment.startNode("node-1", ["--state-dir", folder])
      try await expectHeld(moment)
    }
    // Half of them are put again, the others may be gone.
    try await deployment.publish(keys: 1_030)
    try await eventually("half of them are held") {
      try await node.get("/metrics").body.contains("sluice_replica_vanished_keys 30")
    }
    try await deployment.run("key-publisher", ["confirm"])
    try await eventually("the rest is refused") { try await node.push(key: Deployment.key(1_059)).status == 401 }
    #expect(try await node.push(key: Deployment.key(1_029)).status == 202)
    #expect(try await node.get("/status").body.contains(/"state" ?: ?"complete"/))
  }

  @Test func `a node that starts after the loss holds what its state file knows`() async throws {
    let redis = try await RedisServer.start(RedisServerOptions { $0.appendOnly = .off })
    let deployment = try Deployment(redis: redis)
    try await deployment.publish(keys: 100)
    try await deployment.redis("SAVE")
    try await deployment.publish(keys: 103)
    let folder = deployment.folder.path("state")
    let first = try await deployment.startNode("node-1", ["--state-dir", folder])
    try await first.becomesReady()
    first.process.terminate()
    #expect(try await first.process.waitForExit() == .exited(0))
    try await redis.restart()

    let second = try await deployment.startNode("node-1", ["--state-dir", folder])
    try await second.process.waitForLine(containing: "active keys vanished from the store")
    for number in 100..<103 { #expect(try await second.push(key: Deployment.key(number)).status == 202) }
    try await eventually("operators are told") {
      let run = try await deployment.run("sync-status", [], expecting: nil)
      return run.standardOutput.text.contains("wrong: 3 keys vanished")
    }
  }

  @Test func `a purge loses nobody, and holds nothing`() async throws {
    let deployment = try await Deployment()
    try await deployment.publish(keys: 100)
    let node = try await deployment.startNode("node-1")
    try await node.becomesReady()
    for number in 0..<5 { try await deployment.run("key-publisher", ["revoke", "--key", Deployment.key(number)]) }
    try await eventually("they are refused") { try await node.push(key: Deployment.key(4)).status == 403 }
    try await eventually("their records are purged") {
      try await deployment.run("key-publisher", ["purge", "--older-than", "0", "--yes"])
      for number in 0..<5 where try await node.push(key: Deployment.key(number)).status != 401 { return false }
      return true
    }
    try await deployment.run("key-publisher", ["put", "--key", "sk_later", "--account", "later"])
    try await eventually("the node has heard of it") { try await node.push(key: "sk_later").status == 202 }
    for number in 5..<100 { #expect(try await node.push(key: Deployment.key(number)).status == 202) }
    #expect(try await node.get("/metrics").body.contains("sluice_replica_vanished_keys 0"))
    #expect(try await node.get("/status").body.contains(/"state" ?: ?"complete"/))
  }
}
