import Crypto
import Foundation
import NIOHTTP1
import RedisFixture
import Testing

/// Every pushed payload is stored, and nodes and workers end without losing any.
struct PayloadTests {
  @Test func `ten megabytes of random payloads are stored byte for byte`() async throws {
    let deployment = try await Deployment()
    try await deployment.publish(keys: 100)
    let node = try await deployment.startNode("node-1")
    try await node.becomesReady()
    let workers = [try await deployment.startWorker("worker-1"), try await deployment.startWorker("worker-2")]
    var generator = SeededGenerator.announced()
    var sent: [String: SHA256Digest] = [:]
    var total = 0
    while total < 10_000_000 {
      // Mostly small, some large, one in fifty empty.
      let size = [0, 1, 100, 1_000, 50_000, 1_000_000].randomElement(using: &generator)!
      let length =
        size == 0
        ? (Int.random(in: 0..<50, using: &generator) == 0 ? 0 : 10) : Int.random(in: 1...size, using: &generator)
      let body = (0..<length).map { _ in UInt8.random(in: 0...255, using: &generator) }
      let answer = try await node.push(
        body, key: Deployment.key(Int.random(in: 0..<100, using: &generator)),
        headers: ["content-type": "application/octet-stream"])
      #expect(answer.status == 202)
      sent[try #require(answer.member("id"))] = SHA256.hash(data: body)
      total += length
    }
    try await eventually(within: .seconds(60), "all \(sent.count) are stored") {
      try deployment.stored().count >= sent.count
    }
    let stored = try deployment.stored()
    #expect(stored.count == sent.count)
    for (id, body) in stored { #expect(sent[id] == SHA256.hash(data: body), "payload \(id) of \(body.count) bytes") }
    for worker in workers { worker.terminate() }
    for worker in workers { #expect(try await worker.waitForExit() == .exited(0)) }
  }

  @Test func `a retry with the same idempotency key is one row`() async throws {
    let deployment = try await Deployment()
    try await deployment.publish(keys: 10)
    let node = try await deployment.startNode("node-1")
    try await node.becomesReady()
    let worker = try await deployment.startWorker("worker-1")
    var ids: Set<String> = []
    for _ in 0..<5 {
      let answer = try await node.push(key: Deployment.key(1), headers: ["idempotency-key": "order-17"])
      #expect(answer.status == 202)
      ids.insert(try #require(answer.member("id")))
    }
    let other = try await node.push(key: Deployment.key(2), headers: ["idempotency-key": "order-17"])
    ids.insert(try #require(other.member("id")))
    #expect(ids.count == 2)
    try await eventually("both are stored") { try Set(deployment.stored().map(\.id)) == ids }
    worker.terminate()
    #expect(try await worker.waitForExit() == .exited(0))
    #expect(try deployment.stored().count == 2)
  }

  @Test func `a node that is told to end answers what is in flight and exits with 0`() async throws {
    let deployment = try await Deployment(appendOnly: .always)
    try await deployment.publish(keys: 10)
    let node = try await deployment.startNode("node-1")
    try await node.becomesReady()
    let ids = try await withThrowingTaskGroup(of: [String].self) { group in
      for lane in 0..<8 {
        group.addTask {
          var ids: [String] = []
          // Until the node is gone: each answer that comes is a good one.
          while true {
            let answer: Node.Answer
            do { answer = try await node.push(key: Deployment.key(lane)) } catch { return ids }
            #expect(answer.status == 202 || answer.status == 503)
            if answer.status == 202, let id = answer.member("id") { ids.append(id) }
          }
        }
      }
      try await eventually("there is traffic") { try await node.get("/status").body.contains(/"202" ?: ?[1-9]\d\d/) }
      node.process.terminate()
      #expect(try await node.process.waitForExit() == .exited(0), "\(node.process.outputs)")
      return try await group.reduce(into: Set<String>()) { $0.formUnion($1) }
    }
    let worker = try await deployment.startWorker("worker-1")
    try await eventually(within: .seconds(30), "every acknowledged payload is stored") {
      try Set(deployment.stored().map(\.id)).isSuperset(of: ids)
    }
    worker.terminate()
    #expect(try await worker.waitForExit() == .exited(0))
  }

  @Test func `no key is ever in a log, an answer or a report`() async throws {
    let deployment = try await Deployment()
    try await deployment.publish(keys: 10)
    let node = try await deployment.startNode("node-1", ["--log-level", "trace"])
    try await node.becomesReady()
    let worker = try await deployment.startWorker("worker-1", ["--log-level", "trace"])
    let secrets = [Deployment.key(1), "sk_never_published_before"]
    for secret in secrets {
      let answers = [
        try await node.push(key: secret), try await node.push(key: "", path: "/v1/x?api_key=\(secret)"),
        try await node.push(key: "", path: "/v1/x", headers: ["x-api-key": secret]),
      ]
      for answer in answers { #expect(!answer.body.contains(secret) && !"\(answer.headers)".contains(secret)) }
    }
    try await eventually("a payload is stored") { try !deployment.stored().isEmpty }
    for path in ["/status", "/readyz", "/metrics"] {
      let answer = try await node.get(path)
      for secret in secrets { #expect(!answer.body.contains(secret)) }
    }
    let status = try await deployment.run("sync-status", ["--json"], expecting: nil)
    node.process.terminate()
    worker.terminate()
    _ = try await node.process.waitForExit()
    _ = try await worker.waitForExit()
    for process in [node.process, worker] { try await process.waitForOutputs() }
    for secret in secrets {
      for process in [node.process, worker, status] { #expect(!process.outputs.contains(secret)) }
    }
  }
}
