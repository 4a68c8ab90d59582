import Foundation
import Hiredis
import IngestQueue
import NIOHTTP1
import NIOPosix
import RedisClient
import RedisFixture
import Testing

/// A queue that is full: clients hear so before Redis is at its wall and at it, and are taken again when it has drained.
struct QueueLimitTests {
  private func connection(_ redis: RedisServer) async throws -> RedisConnection {
    try await RedisConnection.connected(to: redis.endpoint, on: MultiThreadedEventLoopGroup.singleton.any())
  }

  private func length(_ connection: RedisConnection) async throws -> Int64 {
    try await connection.execute(QueueLayout().pending.map { RedisCommand("LLEN", $0) })
      .reduce(0) { try $0 + $1.integer() }
  }

  /// Pushes until it is refused.
  private func fill(_ node: Node, size: Int, most: Int) async throws -> (taken: Set<String>, refusal: Node.Answer?) {
    var taken: Set<String> = []
    for number in 0..<most {
      let body =
        Array("{\"number\":\(number),\"pad\":\"".utf8) + [UInt8](repeating: 0x61, count: size) + Array("\"}".utf8)
      let answer = try await node.push(body, key: Deployment.key(number % 10))
      guard answer.status == 202 else { return (taken, answer) }
      taken.insert(try #require(answer.member("id")))
    }
    return (taken, nil)
  }

  @Test func `a queue over its limit is 503 with Retry-After until workers have drained it under the low-water mark`()
    async throws
  {
    let deployment = try await Deployment()
    try await deployment.publish(keys: 10)
    let node = try await deployment.startNode("node-1", ["--max-queue-entries", "200", "--queue-low-water", "50"])
    try await node.becomesReady()
    let (taken, refusal) = try await fill(node, size: 10, most: 400)
    let answer = try #require(refusal)
    #expect(answer.status == 503)
    #expect(answer.member("reason") == "queue_over_limit")
    // Nobody drains it, so the wait is the longest, spread.
    let wait = try #require(answer.headers.first(name: "retry-after").flatMap { Int($0) })
    #expect((48...60).contains(wait), "\(wait)")
    // A request after the other, so at most one came in beyond the mark.
    #expect((200...201).contains(taken.count), "\(taken.count)")
    try await eventually("its status says why") {
      try await node.get("/status").body.contains("\"over_limit\" : \"entries\"")
    }
    // All nodes have this problem: if they left the pool, it would be empty.
    #expect(try await node.isReady())
    try await eventually("sync-status tells of it") {
      try await deployment.run("sync-status", [], expecting: nil).outputs
        .contains("shard 0 of the queue is over its limit of entries")
    }
    let metrics = try await node.get("/metrics").body
    #expect(metrics.contains("sluice_queue_shard_admits{shard=\"0\"} 0"))

    let worker = try await deployment.startWorker("worker-1")
    var more: Set<String> = []
    try await eventually(within: .seconds(30), "it takes payloads again") {
      let answer = try await node.push(key: Deployment.key(1))
      if answer.status == 202 { more.insert(try #require(answer.member("id"))) }
      return answer.status == 202
    }
    try await eventually("the node knows how fast it drains") {
      let rate = try await node.get("/status").body.firstMatch(of: /"drain_per_second" : ([0-9.]+)/)?.1
      return rate.flatMap { Double($0) } ?? 0 > 0
    }
    try await eventually("all that was taken is stored, and no more") {
      try Set(deployment.stored().map(\.id)) == taken.union(more)
    }
    worker.terminate()
    #expect(try await worker.waitForExit() == .exited(0))
  }

  @Test func `at Redis's own limit its refusal is 503, nothing wedges, and what was taken is stored`() async throws {
    let deployment = try await Deployment(appendOnly: .always)
    try await deployment.publish(keys: 10)
    // The node's limit of memory is as high as possible, so that Redis itself rejects the pushes.
    let node = try await deployment.startNode("node-1", ["--max-queue-memory", "100"])
    try await node.becomesReady()
    let redis = try await connection(deployment.redis)
    defer { redis.close() }
    let info = String(decoding: try await redis.execute(RedisCommand("INFO", "memory")).bytes(), as: UTF8.self)
    let used = try #require(info.firstMatch(of: /used_memory:(\d+)/).flatMap { Int($0.1) })
    try await deployment.redis("CONFIG", "SET", "maxmemory", "\(used + (6 << 20))")
    let (taken, refusal) = try await fill(node, size: 50_000, most: 1_000)
    let answer = try #require(refusal)
    #expect(answer.status == 503)
    #expect(["queue_refused", "queue_over_limit"].contains(answer.member("reason")))
    #expect(answer.headers.first(name: "retry-after") != nil)
    #expect(taken.count > 20)
    // What it uses goes up and down by some buffers, so at the wall itself one more payload may fit. Well beyond it none does: it goes on saying
    // so, and nothing is lost by asking.
    try await deployment.redis("CONFIG", "SET", "maxmemory", "\(used + (3 << 20))")
    for _ in 0..<20 {
      #expect(try await node.push([UInt8](repeating: 7, count: 50_000), key: Deployment.key(1)).status == 503)
    }
    #expect(try await length(redis) == Int64(taken.count))

    let worker = try await deployment.startWorker("worker-1")
    try await eventually(within: .seconds(30), "it takes payloads again") {
      try await node.push(key: Deployment.key(1)).status == 202
    }
    try await eventually(within: .seconds(30), "all that was taken is stored") {
      try Set(deployment.stored().map(\.id)).isSuperset(of: taken)
    }
    worker.terminate()
    #expect(try await worker.waitForExit() == .exited(0))
  }

  @Test func `of two queues one that is away stops nobody, and both are 503`() async throws {
    let deployment = try await Deployment()
    try await deployment.publish(keys: 10)
    let queues = [try await RedisServer.start(), try await RedisServer.start()]
    let node = try await deployment.startNode(
      "node-1", ["--queue", queues.map { "\($0.tcpEndpoint)" }.joined(separator: " ")])
    try await node.becomesReady()
    for _ in 0..<10 { #expect(try await node.push(key: Deployment.key(1)).status == 202) }
    try await queues[0].kill9()
    // What is on its way just then has an unknown outcome; from then on the other one has all.
    try await eventually("it takes payloads") { try await node.push(key: Deployment.key(1)).status == 202 }
    for _ in 0..<20 { #expect(try await node.push(key: Deployment.key(1)).status == 202) }
    #expect(try await node.isReady())
    try await queues[1].kill9()
    try await eventually("both are away") {
      try await node.push(key: Deployment.key(1)).member("reason") == "queue_away"
    }
    try await queues[0].restart()
    try await eventually("one is enough again") { try await node.push(key: Deployment.key(1)).status == 202 }
  }

  @Test func `a client that sends slowly holds up nobody`() async throws {
    let deployment = try await Deployment()
    try await deployment.publish(keys: 10)
    let node = try await deployment.startNode("node-1", ["--threads", "1"])
    try await node.becomesReady()
    let parts = node.push.split(separator: ":")
    // Says that it is about to send 16 MiB, sends a half, and waits to be told to go on.
    let slow = try await ServiceProcess.start(
      "/usr/bin/env",
      [
        "python3", "-c",
        """
        import socket, signal, sys
        signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGUSR1])
        s = socket.create_connection((sys.argv[1], int(sys.argv[2])), timeout=20)
        size = 16 << 20
        s.sendall(b'POST /v1/events HTTP/1.1\\r\\nHost: x\\r\\nX-API-Key: %s\\r\\nContent-Length: %d\\r\\n\\r\\n' % (sys.argv[3].encode(), size - 1000))
        s.sendall(b'x' * (size // 2))
        print('half', flush=True)
        signal.sigwait([signal.SIGUSR1])
        s.sendall(b'x' * (size - 1000 - size // 2))
        print(s.recv(100).decode().splitlines()[0], flush=True)
        """, String(parts[0]), String(parts[1]), Deployment.key(2),
      ])
    try await slow.waitForLine(containing: "half")
    for number in 0..<50 { #expect(try await node.push(key: Deployment.key(number % 10)).status == 202) }
    slow.signal(SIGUSR1)
    try await slow.waitForLine(containing: "202 Accepted")
    #expect(try await slow.waitForExit() == .exited(0))
  }
}
