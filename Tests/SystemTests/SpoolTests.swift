// A node with a spool goes on while Redis is unreachable. Payloads that it acknowledged in that time are stored once,
// whatever happens to the node.

import Foundation
import NIOHTTP1
import RedisFixture
import Testing

struct SpoolTests {
  /// What a node says of its spool.
  private struct Figures: Decodable {
    struct Spool: Decodable {
      let state: String
      let entries: Int
      let bytes: Int
      let set_aside: Int
    }
    let spool: Spool
  }

  private func spool(of node: Node) async throws -> Figures.Spool {
    try JSONDecoder().decode(Figures.self, from: Data(try await node.get("/status").body.utf8)).spool
  }

  /// The arguments of a node that remembers.
  private func folders(_ deployment: Deployment) -> [String] {
    ["--spool", deployment.folder.path("spool"), "--state-dir", deployment.folder.path("state")]
  }

  /// Waits until all of these payloads are stored, and looks that none is stored twice.
  private func expectStored(_ payloads: Set<String>, in deployment: Deployment) async throws {
    try await eventually(within: .seconds(60), "all that was acknowledged is stored") {
      try Set(deployment.stored().map { String(decoding: $0.body, as: UTF8.self) }).isSuperset(of: payloads)
    }
    let stored = try deployment.stored()
    #expect(Set(stored.map(\.body)).count == stored.count)
    #expect(Set(stored.map(\.id)).count == stored.count)
  }

  @Test func `Redis is killed under load, then the node, and all that was acknowledged is stored once`() async throws {
    let deployment = try await Deployment(appendOnly: .always)
    try await deployment.publish(keys: 100)
    let worker = try await deployment.startWorker("worker-1")
    var node = try await deployment.startNode("node-1", folders(deployment))
    try await node.becomesReady()
    // Saved each minute, and when a node ends: the second one is to know its keys.
    node.process.terminate()
    #expect(try await node.process.waitForExit() == .exited(0))
    node = try await deployment.startNode("node-1", folders(deployment), at: node.addresses)
    try await node.becomesReady()

    let address = node.push
    let load = SteadyLoad { try await WireConnection.connected(to: address) }
    let tally = try await load.running(connections: 8) {
      try await load.goesOn(for: 200)
      try await deployment.redis.kill9()
      try await load.goesOn(for: 1_000)
      // Not one client has noticed.
      #expect(load.current.failures.isEmpty, "\(load.current.failures.prefix(3))")
      #expect(try await spool(of: node).entries > 300)
      #expect(try await node.isReady())
      node.process.kill9()
      _ = try await node.process.waitForExit()
    }
    #expect(tally.acknowledged.count > 800)

    node = try await deployment.startNode("node-1", folders(deployment), at: node.addresses)
    try await node.process.waitForLine(containing: "spool has payloads from an earlier run")
    #expect(try await node.push(key: Deployment.key(1)).status == 202, "with Redis away it goes on at once")
    #expect(try deployment.stored().count < tally.acknowledged.count)
    try await deployment.redis.restart()
    try await expectStored(tally.acknowledged, in: deployment)
    try await eventually("spool empty") { try await spool(of: node).entries == 0 }
    try await node.process.waitForLine(containing: "spool drained")
    #expect(try await node.push(key: Deployment.key(1)).status == 202)
    node.process.terminate()
    #expect(try await node.process.waitForExit() == .exited(0))
    worker.terminate()
    #expect(try await worker.waitForExit() == .exited(0))
  }

  @Test func `what a Redis that hangs may have taken goes to the spool as well, and is stored once`() async throws {
    let deployment = try await Deployment(appendOnly: .always)
    try await deployment.publish(keys: 100)
    let node = try await deployment.startNode("node-1", folders(deployment))
    try await node.becomesReady()
    let address = node.push
    let load = SteadyLoad { try await WireConnection.connected(to: address) }
    let tally = try await load.running(connections: 8) {
      try await load.goesOn(for: 200)
      try await deployment.redis.pause()
      try await load.goesOn(for: 200)
      try deployment.redis.resume()
      try await eventually("Redis is used again, and the spool drained") {
        try await spool(of: node).entries == 0
      }
      try await load.goesOn(for: 200)
    }
    #expect(tally.failures.isEmpty, "\(tally.failures.prefix(3))")
    let worker = try await deployment.startWorker("worker-1")
    try await expectStored(tally.acknowledged, in: deployment)
    worker.terminate()
    #expect(try await worker.waitForExit() == .exited(0))
  }

  @Test func `a node that is ended while Redis is away leaves the rest to its next start, and says how much`()
    async throws
  {
    let deployment = try await Deployment(appendOnly: .always)
    try await deployment.publish(keys: 100)
    var node = try await deployment.startNode("node-1", folders(deployment))
    try await node.becomesReady()
    try await deployment.redis.stop()
    var acknowledged: Set<String> = []
    for number in 0..<20 {
      let payload = "{\"number\":\(number)}"
      #expect(try await node.push(Array(payload.utf8), key: Deployment.key(number)).status == 202)
      acknowledged.insert(payload)
    }
    node.process.terminate()
    #expect(try await node.process.waitForExit() == .exited(0))
    try await node.process.waitForOutputs()
    #expect(node.process.outputs.contains(/payloads=20 .*payloads remain in the spool/))

    try await deployment.redis.restart()
    node = try await deployment.startNode("node-1", folders(deployment) + ["--spool-rate", "20"])
    // It gives back what it can before it ends.
    try await eventually("some are drained") { try await spool(of: node).entries < 20 }
    node.process.terminate()
    #expect(try await node.process.waitForExit() == .exited(0))
    try await node.process.waitForLine(containing: "spool empty")
    let worker = try await deployment.startWorker("worker-1")
    try await expectStored(acknowledged, in: deployment)
    #expect(try deployment.stored().count == 20)
    worker.terminate()
    #expect(try await worker.waitForExit() == .exited(0))
  }

  @Test func `beyond its bounds clients hear 503, and operators what is in it`() async throws {
    let deployment = try await Deployment(appendOnly: .always)
    try await deployment.publish(keys: 100)
    let node = try await deployment.startNode(
      "node-1", folders(deployment) + ["--spool-bytes", "5000", "--spool-rate", "1"])
    try await node.becomesReady()
    try await deployment.redis.stop()
    var taken = 0
    var answer = try await node.push(key: Deployment.key(1))
    while answer.status == 202, taken < 100 {
      taken += 1
      // Use many accounts: a single one would reach its own limit first.
      answer = try await node.push(key: Deployment.key(taken))
    }
    #expect(answer.status == 503 && answer.member("reason") == "spool_full" && answer.headers["retry-after"].count == 1)
    #expect(taken > 5)
    let full = try await spool(of: node)
    #expect(full.state == "closed" && full.entries == taken && full.bytes <= 5_000)
    let metrics = try await node.get("/metrics").body
    #expect(metrics.contains(try Regex("sluice_spool_entries\\S* \(taken)\\b")))
    #expect(metrics.contains(/sluice_spool_open\S* 0\b/) && metrics.contains(/sluice_spool_oldest_seconds/))
    // Who isn't admitted isn't taken there either.
    #expect(try await node.push(key: "sk_nobody").member("reason") == "store_away")
    try await deployment.redis.restart()
    try await eventually("what is new goes past what waits") {
      try await node.push(key: Deployment.key(1)).status == 202
    }
    try await eventually("sync-status says so") {
      try await deployment.run("sync-status", [], expecting: nil).standardOutput.text.contains(
        /node-1 has \d+ payloads? in its spool, on its own disk/)
    }
    #expect(try await spool(of: node).entries > 0)
  }

  @Test func `a spool that is another's, or damaged, keeps the node from starting`() async throws {
    let deployment = try await Deployment()
    let folder = deployment.folder.path("spool")
    let node = try await deployment.startNode("node-1", ["--spool", folder])
    let arguments = [
      "--name", "node-2", "--listen", "127.0.0.1:0", "--admin", "127.0.0.1:0", "--spool", folder,
    ]
    let second = try await deployment.run("ingest-node", arguments, expecting: .exited(1))
    #expect(second.outputs.contains("process \(node.process.pid) uses this spool"))
    node.process.kill9()
    _ = try await node.process.waitForExit()
    try Data(repeating: 0x61, count: 10_000).write(to: deployment.folder.url("spool/spool.sqlite"))
    let third = try await deployment.run("ingest-node", arguments, expecting: .exited(1))
    #expect(third.outputs.contains("is damaged"))
  }

  @Test(arguments: ["proto-max-bulk-len", "client-query-buffer-limit"])
  func `one payload that Redis doesn't take is set aside, and those around it are stored`(limit: String) async throws {
    let server = try await RedisServer.start(
      RedisServerOptions {
        $0.appendOnly = .always
        $0.arguments = ["--\(limit)", "1mb"]
      })
    let deployment = try Deployment(redis: server)
    try await deployment.publish(keys: 10)
    let folder = deployment.folder.path("spool")
    var node = try await deployment.startNode("node-1", folders(deployment))
    try await node.becomesReady()
    try await server.stop()
    // With line ends, because tests read the output of programs line by line.
    let members = (0..<2_100).map { "\"\($0)\": \"\(String(repeating: "x", count: 1_000))\"" }
    let large = Array("{\n\(members.joined(separator: ",\n"))\n}".utf8)
    var small: Set<String> = []
    for number in 0..<7 {
      let payload = number == 1 ? large : Array("{\"number\":\(number)}".utf8)
      #expect(try await node.push(payload, key: Deployment.key(1)).status == 202)
      if number != 1 { small.insert(String(decoding: payload, as: UTF8.self)) }
    }
    try await server.restart()
    let worker = try await deployment.startWorker("worker-1")
    try await expectStored(small, in: deployment)
    try await eventually(within: .seconds(30), "the large one is set aside") {
      let figures = try await spool(of: node)
      return figures.entries == 0 && figures.set_aside == 1
    }
    try await eventually("a metric says so") {
      try await node.get("/metrics").body.contains(/sluice_spool_set_aside\S* 1\b/)
    }
    try await eventually("sync-status says so") {
      let run = try await deployment.run("sync-status", [], expecting: nil)
      return run.standardOutput.text.contains(/wrong: +node-1 has set aside 1 payload in its spool/)
    }

    func verb(
      _ arguments: String..., expecting status: RedisFixture.ExitStatus? = .exited(0)
    ) async throws -> ServiceProcess {
      try await deployment.run("sync-status", ["spool"] + arguments, expecting: status)
    }
    let locked = try await verb("list", folder, expecting: .exited(2))
    #expect(locked.standardError.text.contains("stop the node that uses it"))
    node.process.terminate()
    #expect(try await node.process.waitForExit() == .exited(0))
    let listed = try await verb("list", folder).standardOutput.text
    let number = try #require(listed.split(separator: " ").first.map(String.init))
    #expect(try await verb("show", folder, number).standardOutput.text.contains("; --payload writes them"))
    #expect(try await verb("show", folder, number, "--payload").standardOutput.text.utf8.elementsEqual(large))
    _ = try await verb("discard", folder, "999", expecting: .exited(1))
    _ = try await verb("discard", folder, number, expecting: .exited(1))
    // Redis takes it now.
    try await deployment.redis("CONFIG", "SET", limit, "100mb")
    _ = try await verb("requeue", folder, number)
    node = try await deployment.startNode("node-1", folders(deployment), at: node.addresses)
    try await expectStored(small.union([String(decoding: large, as: UTF8.self)]), in: deployment)
    #expect(try await spool(of: node).set_aside == 0)
    node.process.terminate()
    #expect(try await node.process.waitForExit() == .exited(0))
    worker.terminate()
    #expect(try await worker.waitForExit() == .exited(0))
    _ = try await verb("list", deployment.folder.path("nowhere"), expecting: .exited(2))
  }
}
