// A failover behind an address that stays: new connections come to the new primary, and those that were open stay where they are. So do managed
// services, Kubernetes and HAProxy.

import Foundation
import Hiredis
import NIOCore
import RedisClient
import RedisFixture
import Testing

@Suite(.timeLimit(.minutes(3))) struct MovedAddressTests {
  @Test func `a planned failover behind an address that stays is followed by everybody, and nothing is lost`()
    async throws
  {
    let options = RedisServerOptions {
      $0.appendOnly = .always
      $0.arguments = ["--repl-diskless-sync-delay", "0"]
    }
    let primary = try await RedisServer.start(options)
    let replica = try await RedisServer.start(options)
    try await replica.run("REPLICAOF", "127.0.0.1", primary.port)
    try await eventually(within: .seconds(20), "the replica follows") {
      try await primary.run("ROLE").array()[2].array().count == 1
    }
    let address = try MovableAddress()
    try address.lead(to: primary)
    let deployment = try Deployment(redis: primary, settings: ["SLUICE_REDIS": "\(address.endpoint)"])
    try await deployment.publish(keys: 100)
    try await deployment.run("key-publisher", ["replicas", "1"])
    let node = try await deployment.startNode("node-1", [])
    try await node.becomesReady()
    let worker = try await deployment.startWorker("worker-1", ["--lease", "2"])
    let pushes = NumberedPushes(to: node)
    try await pushes.running(lanes: 4) {
      try await pushes.goOn(for: 300)
      try await primary.run("FAILOVER", "TO", "127.0.0.1", replica.port)
      try await eventually(within: .seconds(30), "the replica is the primary") { try await replica.role() == "master" }
      let promoted = ContinuousClock.now
      try address.lead(to: replica)
      try await eventually(within: .seconds(30), "a push that was sent after it is acknowledged") {
        pushes.acknowledged.contains { $0.sentAt > promoted }
      }
      print(
        "FAILOVER | behind an address that stays: acknowledged again \(ContinuousClock.now - promoted) after the promotion"
      )
      try await eventually(within: .seconds(30), "a put is confirmed") {
        let put = try await deployment.run(
          "key-publisher", ["put", "--key", "sk_new", "--account", "account-new"], expecting: nil)
        return put.status == .exited(0)
      }
      try await eventually(within: .seconds(30), "the new key is admitted") {
        try await node.push(key: "sk_new").status == 202
      }
      try await eventually(within: .seconds(30), "a key that nobody has is refused, with a proof") {
        try await node.push(key: "sk_nobody").status == 401
      }
      try await pushes.goOn(for: 300)
    }
    // FAILOVER waits until the replica has everything.
    let promised = Set(pushes.acknowledged.map(\.number))
    try await eventually(within: .seconds(60), "all that was acknowledged is stored") {
      let numbers = try deployment.stored().filter { $0.body != Data("{}".utf8) }.map {
        try NumberedPushes.number(in: $0.body)
      }
      #expect(Set(numbers).count == numbers.count, "a payload is stored twice")
      return Set(numbers).isSuperset(of: promised)
    }
    let statuses = Set(pushes.answered.map(\.status))
    #expect(statuses.isSubset(of: [202, 503, 504]), "\(statuses): an active key was refused")
    try await eventually(within: .seconds(60), "sync-status says that all is well") {
      try await deployment.run("sync-status", [], expecting: nil).status == .exited(0)
    }
    worker.terminate()
    #expect(try await worker.waitForExit() == .exited(0), "\(worker.outputs)")
    node.process.terminate()
    _ = try await node.process.waitForExit()
    for server in [primary, replica] {
      try await server.kill9()
      server.folder.remove()
    }
  }
}
