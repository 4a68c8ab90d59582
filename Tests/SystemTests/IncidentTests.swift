// The five published incidents, each replayed as it happened, against the real binaries. What was 401 or 403 then must
// never be seen here.

import Foundation
import Hiredis
import KeyReplica
import KeyStore
import NIOCore
import NIOPosix
import RedisClient
import RedisFixture
import Testing

struct IncidentTests {
  /// 2013: the API was switched to keys in Redis before they had been loaded.
  @Test func `keys that are still being loaded are nobody's refusal`() async throws {
    let deployment = try await Deployment()
    let node = try await deployment.startNode("node-1")
    let listed = try await ServiceProcess.start(
      "/bin/sh",
      [
        "-c",
        "awk 'BEGIN { print \"key,account\"; for (i = 0; i < 30000; i++) printf \"sk_test_%d,a\\n\", i }' | \"$0\" import - --seal --expect 30000",
        ServiceProcess.folder.appendingPathComponent("key-publisher").path,
      ], environment: ["SLUICE_REDIS": "\(deployment.redis.tcpEndpoint)"])
    var answers: [Int: Int] = [:]
    var number = 0
    while try await !node.isReady() {
      number = (number + 7919) % 30_000
      answers[try await node.push(key: Deployment.key(number)).status, default: 0] += 1
    }
    #expect(try await listed.waitForExit() == .exited(0))
    #expect(Set(answers.keys).isSubset(of: [202, 503]), "\(answers)")
    #expect(answers[503, default: 0] > 0, "the node was never seen without keys: nothing was proven")
    for number in stride(from: 0, to: 30_000, by: 997) {
      #expect(try await node.push(key: Deployment.key(number)).status == 202)
    }
  }

  /// 2014: a new machine came into the load balancer before its keys had come, and answered 401 to all.
  @Test func `a new node that gets traffic before its keys refuses nobody`() async throws {
    let deployment = try await Deployment()
    try await deployment.publish(keys: 20_000)
    // Held at the door: the node starts while Redis answers nothing.
    try await deployment.redis.pause()
    let node = try await deployment.startNode("node-4")
    var answers: [Int: Int] = [:]
    for number in 0..<20 { answers[try await node.push(key: Deployment.key(number)).status, default: 0] += 1 }
    #expect(answers == [503: 20])
    #expect(try await !node.isReady())
    try deployment.redis.resume()
    while try await !node.isReady() {
      let status = try await node.push(key: Deployment.key(Int.random(in: 0..<20_000))).status
      #expect(status == 202 || status == 503)
    }
    #expect(try await node.push(key: "sk_nobody").status == 401)
  }

  /// 2020: new hosts couldn't read the keys' records, cached that as "no key", and answered 401.
  @Test func `records that can't be read are nobody's refusal`() async throws {
    let deployment = try await Deployment()
    try await deployment.publish(keys: 1_000)
    let key = KeyID(secret: Deployment.key(3).utf8)
    let bucket = StoreLayout().bucket(key.bucket(of: StoreLayout.bucketCount))
    let connection = try await RedisConnection.connected(
      to: deployment.redis.endpoint, on: MultiThreadedEventLoopGroup.singleton.any())
    defer { connection.close() }
    let before = try await connection.execute(RedisCommand("HGET", bucket, key.bytes)).bytes()
    _ = try await connection.execute(RedisCommand("HSET", bucket, key.bytes, "2 a 0 acme {\"new_column\":1}")).integer()
    // A host that starts now can't read this record.
    let node = try await deployment.startNode("node-new")
    try await eventually("the node has read what it can") {
      try await node.get("/status").body.contains(/"state" ?: ?"diverged"/)
    }
    #expect(try await !node.isReady())
    for secret in [Deployment.key(3), "sk_nobody"] {
      #expect(try await node.push(key: secret).status == 503)
    }
    #expect(try await node.push(key: Deployment.key(4)).status == 202)
    _ = try await connection.execute(RedisCommand("HSET", bucket, key.bytes, before)).integer()
    try await node.becomesReady()
    #expect(try await node.push(key: Deployment.key(3)).status == 202)
    #expect(try await node.push(key: "sk_nobody").status == 401)
  }

  /// 2021: a refresh of the cache under load refused now and then.
  @Test func `while the mirror is compared and read anew nobody is refused`() async throws {
    let deployment = try await Deployment()
    try await deployment.publish(keys: 5_000)
    let node = try await deployment.startNode("node-1")
    try await node.becomesReady()
    let connection = try await RedisConnection.connected(
      to: deployment.redis.endpoint, on: MultiThreadedEventLoopGroup.singleton.any())
    defer { connection.close() }
    let answers = try await withThrowingTaskGroup(of: [Int: Int].self) { group in
      for lane in 0..<6 {
        group.addTask {
          var answers: [Int: Int] = [:]
          for number in 0..<500 {
            answers[try await node.push(key: Deployment.key((number * 7 + lane) % 5_000)).status, default: 0] += 1
          }
          return answers
        }
      }
      // Meanwhile its connections are cut again and again, and the store's history goes on without it.
      for round in 0..<30 {
        _ = try await connection.execute(RedisCommand("CLIENT", "KILL", "TYPE", "normal", "SKIPME", "yes"))
        _ = try await KeyStoreWriter(connection: connection, layout: StoreLayout()).apply([
          KeyEdit(key: KeyID(secret: "sk_more_\(round)".utf8), kind: .put(account: "more", .active))
        ])
        _ = try await connection.execute(RedisCommand("XTRIM", StoreLayout().changes, "MAXLEN", 0))
      }
      return try await group.reduce(into: [:]) { $0.merge($1, uniquingKeysWith: +) }
    }
    // 504: a connection was cut while a payload was on it, and nobody knows whether Redis has it.
    #expect(Set(answers.keys).isSubset(of: [202, 503, 504]), "\(answers)")
    #expect(answers[202, default: 0] > 1_000, "\(answers): there was too little traffic to prove anything")
    try await eventually("the last key has come") { try await node.push(key: "sk_more_29").status == 202 }
  }

  /// 2019: one 4xx was written twice on a keep-alive connection, and every later response was off by one.
  @Test func `every pipelined request gets its own answer, whatever was refused before it`() async throws {
    let deployment = try await Deployment()
    try await deployment.publish(keys: 10)
    let node = try await deployment.startNode("node-1")
    try await node.becomesReady()
    let kinds: [(request: String, status: Int)] = [
      ("POST /v1/a HTTP/1.1\r\nHost: x\r\nX-API-Key: \(Deployment.key(1))\r\nContent-Length: 2\r\n\r\n{}", 202),
      ("POST /v1/a HTTP/1.1\r\nHost: x\r\nX-API-Key: sk_nobody\r\nContent-Length: 2\r\n\r\n{}", 401),
      ("POST /v1/a HTTP/1.1\r\nHost: x\r\nContent-Length: 2\r\n\r\n{}", 400),
      ("GET /v1/a HTTP/1.1\r\nHost: x\r\n\r\n", 405),
      ("POST /elsewhere HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n2\r\n{}\r\n0\r\n\r\n", 404),
    ]
    var generator = SeededGenerator.announced()
    for _ in 0..<50 {
      let requests = (0..<20).map { _ in kinds.randomElement(using: &generator)! }
      let statuses = try await RawConnection.statuses(
        ofRequests: requests.map(\.request).joined(), count: requests.count, at: node.push)
      #expect(statuses == requests.map(\.status))
    }
  }
}
