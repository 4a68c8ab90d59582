// Our client against a real node, worker and Redis: the rule about refusals, and idempotency keys.

import Foundation
import IngestClient
import Logging
import NIOCore
import RedisFixture
import Testing

struct IngestClientTests {
  /// Quick enough for a test; the proportions are the defaults'.
  private func client(_ node: Node, key: String = Deployment.key(1)) throws -> IngestClient {
    var configuration = IngestClient.Configuration(endpoint: "http://\(node.push)/v1/events", key: try PushKey(key))
    configuration.retries.first = .milliseconds(20)
    configuration.retries.longest = .milliseconds(500)
    configuration.retries.longestRetryAfter = .milliseconds(500)
    configuration.refusals.firstAsk = .milliseconds(50)
    configuration.refusals.longestAsk = .milliseconds(500)
    configuration.requestTimeout = .seconds(5)
    return try IngestClient(configuration, logger: Logger(label: "client"))
  }

  private func payload(_ number: Int) -> IngestClient.Payload {
    IngestClient.Payload(Array("{\"number\":\(number)}".utf8), contentType: "application/json")
  }

  /// Runs the client around the body, then drains it, and expects that nothing was left.
  private func running(_ client: IngestClient, _ body: () async throws -> Void) async throws {
    try await withThrowingTaskGroup(of: Void.self) { group in
      group.addTask { try await client.run() }
      try await body()
      let report = await client.drain()
      #expect(report.undelivered.isEmpty, "\(report.undelivered.first?.description ?? "")")
      try await group.waitForAll()
    }
  }

  /// Waits until this number of rows is stored, and expects each of the bodies once.
  private func expectStoredOnce(_ count: Int, _ deployment: Deployment) async throws {
    try await eventually(within: .seconds(60), "all \(count) are stored") { try deployment.stored().count >= count }
    let stored = try deployment.stored()
    #expect(stored.count == count)
    #expect(Set(stored.map(\.body)) == Set((0..<count).map { Data("{\"number\":\($0)}".utf8) }))
  }

  @Test func `payloads pushed before the store is sealed are delivered once it is`() async throws {
    let deployment = try await Deployment()
    let node = try await deployment.startNode("node-1")
    try await deployment.run("key-publisher", ["put", "--account", "acme", "--key", Deployment.key(99)])
    try await eventually("the store is seen, and isn't sealed") {
      try await node.push(key: "sk_nobody").member("reason") == "unsealed"
    }
    let worker = try await deployment.startWorker("worker-1")
    let client = try client(node)
    try await running(client) {
      let pushes = try (0..<20).map { try client.submit(payload($0)) }
      // The node has said 503 to this client by then: it is among the answers that it counts.
      try await eventually("the node has answered some") {
        try await node.get("/metrics").body.contains(/status="503"[^}]*} ([2-9]|\d\d)/)
      }
      #expect(client.bufferedPayloads == 20)
      #expect(client.state == .engaged)
      try await deployment.publish(keys: 10)
      for push in pushes {
        guard case .delivered(let delivery) = try await push.outcome() else {
          throw NeverHappened(description: "delivered")
        }
        #expect(delivery.answer.status == 202)
      }
    }
    try await expectStoredOnce(20, deployment)
    worker.terminate()
    _ = try await worker.waitForExit()
    try await expectStoredOnce(20, deployment)
  }

  @Test func `a node that is killed in mid-stream costs no payload and repeats none`() async throws {
    let deployment = try await Deployment(appendOnly: .always)
    try await deployment.publish(keys: 10)
    let node = try await deployment.startNode("node-1")
    try await node.becomesReady()
    let worker = try await deployment.startWorker("worker-1", ["--batch", "100"])
    let client = try client(node)
    let count = 4_000
    try await running(client) {
      for number in 0..<count { try client.submit(payload(number)) }
      try await eventually(within: .seconds(60), "a part is delivered") {
        client.bufferedPayloads < count * 3 / 4
      }
      node.process.kill9()
      _ = try await node.process.waitForExit()
      let left = client.bufferedPayloads
      #expect(left > count / 4, "too few were left to prove anything")
      let again = try await deployment.startNode("node-1", ["--listen", node.push])
      #expect(again.push == node.push)
      try await eventually(within: .seconds(60), "all are delivered") { client.bufferedPayloads == 0 }
    }
    try await expectStoredOnce(count, deployment)
    worker.terminate()
    _ = try await worker.waitForExit()
    try await expectStoredOnce(count, deployment)
  }

  @Test func `a revoked key pauses the client, and put again it delivers all`() async throws {
    let deployment = try await Deployment()
    try await deployment.publish(keys: 10)
    let node = try await deployment.startNode("node-1")
    try await node.becomesReady()
    let worker = try await deployment.startWorker("worker-1")
    let client = try client(node)
    try await running(client) {
      for number in 0..<100 { _ = try await client.push(payload(number)) }
      try await deployment.run("key-publisher", ["revoke", "--key", Deployment.key(1)])
      try await eventually("the node refuses") { try await node.push(key: Deployment.key(1)).status == 403 }
      for number in 100..<600 { try client.submit(payload(number)) }
      var states = client.states().makeAsyncIterator()
      while let state = await states.next() {
        guard case .paused(let answer) = state else { continue }
        #expect(answer.status == 403)
        #expect(answer.words.contains("revoked_key"))
        break
      }
      #expect(client.bufferedPayloads == 500)
      try await deployment.run(
        "key-publisher", ["put", "--reactivate", "--account", "account-1", "--key", Deployment.key(1)])
      try await eventually("the client is engaged again, and all are delivered") {
        client.state == .engaged && client.bufferedPayloads == 0
      }
    }
    try await expectStoredOnce(600, deployment)
    worker.terminate()
    _ = try await worker.waitForExit()
    try await expectStoredOnce(600, deployment)
  }
}
