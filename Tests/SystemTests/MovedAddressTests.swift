// A failover behind an address that stays: new connections come to the new primary, and those that were open stay where they are. So do managed
// services, Kubernetes and HAProxy.

import Foundation
import Hiredis
import IngestQueue
import NIOCore
import RedisClient
import RedisFixture
import Testing

@Suite(.timeLimit(.minutes(3))) struct MovedAddressTests {
  /// As `localhost` is on most machines, with a Redis that listens at 127.0.0.1 alone.
  @Test func `a name with several addresses leads to the one where Redis listens`() async throws {
    let deployment = try await Deployment()
    let hosts = deployment.folder.url("hosts")
    try Data("127.0.0.1 localhost\n::1 redis.test\n127.0.0.2 redis.test\n127.0.0.1 redis.test\n".utf8).write(to: hosts)
    try await deployment.publish(keys: 1)
    let named = try Deployment(
      redis: deployment.redis, settings: ["SLUICE_REDIS": "redis://redis.test:\(deployment.redis.port)"])
    let node = try await named.startNode("node-1", hosts: hosts.path)
    try await node.becomesReady()
    #expect(try await node.push(key: Deployment.key(0)).status == 202)
    node.process.terminate()
    _ = try await node.process.waitForExit()
  }

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

  /// As in Kubernetes, where a recreated pod has its old name and another address.
  @Test func `a server that dies is found where its name leads then, and nothing is lost`() async throws {
    func start(_ arguments: [String]) async throws -> RedisServer {
      try await RedisServer.start(
        RedisServerOptions {
          $0.appendOnly = .always
          $0.arguments = ["--repl-diskless-sync-delay", "0"] + arguments
        })
    }
    let primary = try await start(["--bind", "127.0.0.1", "127.0.0.11"])
    // A name leads to an address, and the port is the same.
    let replica = try await start(["--bind", "127.0.0.12", "--port", "\(primary.port)"])
    try await replica.run("REPLICAOF", "127.0.0.1", primary.port)
    try await eventually(within: .seconds(20), "the replica follows") {
      try await primary.run("ROLE").array()[2].array().count == 1
    }
    let deployment = try Deployment(redis: primary)
    try await deployment.publish(keys: 100)
    try await deployment.run("key-publisher", ["replicas", "1"])
    let hosts = deployment.folder.url("hosts")
    func lead(to address: String) throws {
      // In place: what is mounted is this file.
      try Data("127.0.0.1 localhost\n\(address) redis.test\n".utf8).write(to: hosts)
    }
    try lead(to: "127.0.0.11")
    let node = try await deployment.startNode(
      "node-1", ["--redis", "redis://redis.test:\(primary.port)", "--require-durability", "replicas:1"],
      hosts: hosts.path)
    try await node.becomesReady()
    let pushes = NumberedPushes(to: node)
    try await pushes.running(lanes: 4) {
      try await pushes.goOn(for: 300)
      try await primary.kill9()
      try await replica.run("REPLICAOF", "NO", "ONE")
      // The new primary has a replica again, as what is required says.
      let another = try await start([])
      try await another.run("REPLICAOF", "127.0.0.12", primary.port)
      try await eventually(within: .seconds(20), "another replica follows") {
        try await replica.run("ROLE").array()[2].array().count == 1
      }
      let moved = ContinuousClock.now
      try lead(to: "127.0.0.12")
      try await eventually(within: .seconds(30), "a push that was sent after it is acknowledged") {
        pushes.acknowledged.contains { $0.sentAt > moved }
      }
      print("FAILOVER | under a name: acknowledged again \(ContinuousClock.now - moved) after the name has moved")
      try await eventually(within: .seconds(30), "a key that nobody has is refused, with a proof") {
        try await node.push(key: "sk_nobody").status == 401
      }
      try await pushes.goOn(for: 300)
    }
    let statuses = Set(pushes.answered.map(\.status))
    #expect(statuses.isSubset(of: [202, 503, 504]), "\(statuses): an active key was refused")
    var numbers: Set<Int> = []
    for list in QueueLayout().pending {
      for element in try await replica.run("LRANGE", list, 0, -1).array() {
        let body = Data(try Envelope(element.bytes()).payload)
        if body != Data("{}".utf8) { numbers.insert(try NumberedPushes.number(in: body)) }
      }
    }
    let lost = Set(pushes.acknowledged.map(\.number)).subtracting(numbers)
    #expect(lost.isEmpty, "\(lost) were acknowledged and are not in the queue")
    node.process.terminate()
    _ = try await node.process.waitForExit()
  }
}
