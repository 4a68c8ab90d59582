import Foundation
import Hiredis
import IngestQueue
import NIOHTTP1
import NIOPosix
import RedisClient
import RedisFixture
import Testing

/// What a 202 means is said, can be demanded, and isn't said where it isn't so.
struct AcknowledgementTests {
  private func length(_ redis: RedisServer) async throws -> Int64 {
    let connection = try await RedisConnection.connected(
      to: redis.endpoint, on: MultiThreadedEventLoopGroup.singleton.any())
    defer { connection.close() }
    return try await connection.execute(QueueLayout().pending.map { RedisCommand("LLEN", $0) })
      .reduce(0) { try $0 + $1.integer() }
  }

  @Test func `a payload whose outcome isn't known is 503, and sent again with its Idempotency-Key it is one row`()
    async throws
  {
    let deployment = try await Deployment(appendOnly: .always)
    try await deployment.publish(keys: 10)
    let node = try await deployment.startNode("node-1")
    try await node.becomesReady()
    // Redis holds still with the payload in its socket, and will find it there.
    try await deployment.redis.pause()
    let first = try await node.push(
      Array("{\"order\":17}".utf8), key: Deployment.key(1), headers: ["idempotency-key": "order-17"])
    #expect(first.status == 503 && first.member("reason") == "outcome_unknown", "\(first.status) \(first.body)")
    #expect(first.headers.first(name: "retry-after") != nil)
    try deployment.redis.resume()
    try await eventually("the retry is taken") {
      try await node.push(
        Array("{\"order\":17}".utf8), key: Deployment.key(1), headers: ["idempotency-key": "order-17"]
      ).status == 202
    }
    // Both are there: the outcome that nobody knew was that it had been pushed.
    try await eventually("Redis has read what it was sent") { try await length(deployment.redis) == 2 }
    let worker = try await deployment.startWorker("worker-1")
    // And not only in a worker's hands: one that is told to end puts back what it hasn't stored.
    try await eventually("both have been worked on") {
      try await deployment.redis.run("HGET", QueueLayout().stats, "done").stringOrNull() == "2"
    }
    worker.terminate()
    #expect(try await worker.waitForExit() == .exited(0))
    #expect(try deployment.stored().count == 1)
  }

  @Test func `what an acknowledgement means stands in the log, in the status and in sync-status`() async throws {
    let deployment = try await Deployment(appendOnly: .always)
    try await deployment.publish(keys: 10)
    let node = try await deployment.startNode("node-1")
    try await node.becomesReady()
    try await node.process.waitForLine(containing: "durability=fsync before each answer")
    func says(_ words: String) async throws {
      try await eventually("it says \(words)") {
        try await node.get("/status").body.contains("\"durability\" : \"\(words)\"")
      }
      try await eventually("sync-status says \(words)") {
        try await deployment.run("sync-status", [], expecting: nil).outputs.contains("queue durability: \(words)")
      }
    }
    try await says("fsync before each answer")
    try await deployment.redis("CONFIG", "SET", "appendfsync", "everysec")
    try await says("fsync each second")
    try await deployment.redis("CONFIG", "SET", "appendonly", "no")
    try await says("in memory only")
  }

  @Test(arguments: [("everysec", RedisServerOptions.AppendOnly.off), ("always", .everysec), ("replicas:1", .always)])
  func `a node ends where Redis promises less than is required, and says what to change`(
    requirement: String, mode: RedisServerOptions.AppendOnly
  ) async throws {
    let deployment = try await Deployment(appendOnly: mode)
    try await deployment.publish(keys: 10)
    let node = try await deployment.run(
      "ingest-node",
      ["--name", "node-1", "--listen", "127.0.0.1:0", "--admin", "127.0.0.1:0", "--require-durability", requirement],
      expecting: .exited(1))
    #expect(node.outputs.contains("--require-durability \(requirement) isn't met"))
    #expect(node.outputs.contains(requirement == "replicas:1" ? "Start more replicas" : "Set appendonly yes"))
  }

  @Test func `a level that isn't one is said to be none`() async throws {
    let deployment = try await Deployment()
    for text in ["sometimes", "replicas", "replicas:0", "replicas:x"] {
      let node = try await deployment.run("ingest-node", ["--require-durability", text], expecting: .exited(64))
      #expect(node.outputs.contains("expected none, everysec, always, or replicas:N"))
    }
  }

  @Test func `while Redis can't be asked a node waits and answers 503; when it promises less later it is 503 too`()
    async throws
  {
    let deployment = try await Deployment(appendOnly: .always)
    try await deployment.publish(keys: 10)
    try await deployment.redis.stop()
    let node = try await deployment.startNode("node-1", ["--require-durability", "always"])
    #expect(try await node.push(key: Deployment.key(1)).status == 503)
    #expect(node.process.status == nil)
    try await deployment.redis.restart()
    try await node.becomesReady()
    #expect(try await node.push(key: Deployment.key(1)).status == 202)

    try await deployment.redis("CONFIG", "SET", "appendfsync", "everysec")
    try await eventually("it is refused") {
      try await node.push(key: Deployment.key(1)).member("reason") == "durability_lost"
    }
    let length = try await length(deployment.redis)
    let answer = try await node.push(key: Deployment.key(1))
    #expect(answer.status == 503 && answer.headers.first(name: "retry-after") != nil)
    #expect(try await self.length(deployment.redis) == length)
    try await eventually("its status says why") {
      try await node.get("/status").body.contains("--require-durability always isn't met: appendfsync is everysec")
    }
    try await eventually("sync-status says that nothing is taken") {
      let run = try await deployment.run("sync-status", [], expecting: nil)
      return run.status == .exited(1)
        && run.outputs.contains(
          "  wrong: shard 0 of the queue gets no pushes: --require-durability always isn't met")
    }
    try await deployment.redis("CONFIG", "SET", "appendfsync", "always")
    try await eventually("it is taken again") { try await node.push(key: Deployment.key(1)).status == 202 }
  }

  @Test(arguments: RedisBuild.supported, ["everysec", "always"])
  func `a Redis that evicts any key keeps no promise, with CONFIG or without`(
    build: RedisBuild, requirement: String
  ) async throws {
    let redis = try await RedisServer.start(
      RedisServerOptions {
        $0.build = build
        $0.appendOnly = .always
        $0.users = ["looker on >pass ~* &* +@all -config"]
      })
    let deployment = try Deployment(redis: redis)
    try await deployment.publish(keys: 10)
    let node = try await deployment.startNode("node-1", ["--require-durability", requirement])
    let other = try await deployment.startNode("node-2")
    for node in [node, other] {
      try await node.becomesReady()
      #expect(try await node.push(key: Deployment.key(1)).status == 202)
    }
    // Only keys with an expiry: Sluice's have none.
    try await redis.run("CONFIG", "SET", "maxmemory-policy", "volatile-lru")
    try await eventually("sync-status notes it") {
      try await deployment.run("sync-status", [], expecting: nil).standardOutput.text.contains(
        "note:  Redis evicts keys that expire")
    }
    #expect(try await node.push(key: Deployment.key(1)).status == 202)

    try await redis.run("CONFIG", "SET", "maxmemory-policy", "allkeys-random")
    try await eventually("it isn't taken any more") {
      try await node.push(key: Deployment.key(1)).member("reason") == "durability_lost"
    }
    // Who requires nothing goes on.
    #expect(try await other.push(key: Deployment.key(1)).status == 202)
    try await node.process.waitForLine(
      containing: "--require-durability \(requirement) isn't met: maxmemory-policy is allkeys-random")
    let looker = try Deployment(redis: redis, settings: ["SLUICE_REDIS": "redis://looker:pass@127.0.0.1:\(redis.port)"])
    for deployment in [deployment, looker] {
      try await eventually("sync-status says what is wrong") {
        let page = try await deployment.run("sync-status", [], expecting: nil).standardOutput
        return page.lines.contains { $0.contains("wrong: Redis evicts keys (maxmemory-policy allkeys-random)") }
          && page.text.contains("Redis evicts keys when full")
      }
    }
    let late = try await deployment.run(
      "ingest-node",
      ["--name", "node-3", "--listen", "127.0.0.1:0", "--admin", "127.0.0.1:0", "--require-durability", requirement],
      expecting: .exited(1))
    #expect(late.outputs.contains("Set maxmemory-policy noeviction"))
    try await redis.run("CONFIG", "SET", "maxmemory-policy", "noeviction")
    try await eventually("it is taken again") { try await node.push(key: Deployment.key(1)).status == 202 }
  }

  @Test func `with a replica required nothing is acknowledged that it hasn't confirmed`() async throws {
    let deployment = try await Deployment(appendOnly: .always)
    try await deployment.publish(keys: 10)
    let replica = try await RedisServer.start(
      RedisServerOptions {
        $0.appendOnly = .always
        $0.arguments = ["--replicaof", "127.0.0.1", "\(deployment.redis.port)"]
      })
    try await eventually("the replica follows") {
      let connection = try await RedisConnection.connected(
        to: deployment.redis.endpoint, on: MultiThreadedEventLoopGroup.singleton.any())
      defer { connection.close() }
      let info = try await connection.execute(RedisCommand("INFO", "replication")).bytes()
      return String(decoding: info, as: UTF8.self).contains("state=online")
    }
    // What is declared for the key store is another matter.
    let node = try await deployment.startNode("node-1", ["--require-durability", "replicas:1"])
    try await node.becomesReady()
    var taken = 0
    for number in 0..<20 {
      #expect(try await node.push(key: Deployment.key(number % 10)).status == 202)
      taken += 1
    }
    #expect(try await length(replica) == Int64(taken))

    try await replica.pause()
    let answer = try await node.push(key: Deployment.key(1))
    // Without an Idempotency-Key nobody but the client may send it again.
    #expect(answer.status == 504 && answer.member("reason") == "outcome_unknown", "\(answer.status) \(answer.body)")
    #expect(answer.headers.first(name: "retry-after") != nil)
    try await eventually(within: .seconds(20), "it is refused before it is pushed") {
      try await node.push(key: Deployment.key(1)).member("reason") == "durability_lost"
    }
    try replica.resume()
    try await eventually(within: .seconds(20), "it is taken again") {
      try await node.push(key: Deployment.key(1)).status == 202
    }
    try await eventually("the replica has all that the primary has") {
      try await length(replica) == length(deployment.redis)
    }
  }
}
