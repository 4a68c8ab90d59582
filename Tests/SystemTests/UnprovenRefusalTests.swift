import NIOHTTP1
import RedisFixture
import Testing

/// Nobody is refused as long as nothing can be proven, and the node heals by itself.
struct UnprovenRefusalTests {
  /// Expects the answers of a node that can prove nothing.
  private func expectUndecided(_ node: Node, reason: String) async throws {
    for key in [Deployment.key(1), "sk_nobody"] {
      let answer = try await node.push(key: key)
      #expect(answer.status == 503)
      #expect(answer.headers.first(name: "retry-after") != nil)
      #expect(answer.member("error") == "undecided")
      #expect(answer.member("reason") == reason)
    }
    #expect(try await !node.isReady())
  }

  @Test func `an empty Redis refuses nobody, and the node turns ready when keys are sealed`() async throws {
    let deployment = try await Deployment()
    let node = try await deployment.startNode("node-1")
    try await eventually("the node has looked") { try await node.push(key: "x").member("reason") == "no_store" }
    try await expectUndecided(node, reason: "no_store")
    try await deployment.publish(keys: 100)
    try await node.becomesReady()
    #expect(try await node.push(key: Deployment.key(1)).status == 202)
    #expect(try await node.push(key: "sk_nobody").status == 401)
  }

  @Test func `an unsealed store admits what it holds and refuses nobody`() async throws {
    let deployment = try await Deployment()
    let node = try await deployment.startNode("node-1")
    try await deployment.run("key-publisher", ["put", "--account", "acme", "--key", Deployment.key(1)])
    try await eventually("the key is mirrored") { try await node.push(key: Deployment.key(1)).status == 202 }
    let answer = try await node.push(key: "sk_nobody")
    #expect(answer.status == 503)
    #expect(answer.member("reason") == "unsealed")
    #expect(try await !node.isReady())
    try await deployment.run("key-publisher", ["seal"])
    try await node.becomesReady()
    #expect(try await node.push(key: "sk_nobody").status == 401)
  }

  @Test func `a node that starts without Redis refuses nobody, and turns ready when Redis comes`() async throws {
    let deployment = try await Deployment(appendOnly: .always)
    try await deployment.publish(keys: 100)
    try await deployment.redis.stop()
    let node = try await deployment.startNode("node-1")
    try await expectUndecided(node, reason: "store_away")
    try await deployment.redis.restart()
    try await node.becomesReady()
    #expect(try await node.push(key: Deployment.key(1)).status == 202)
    #expect(try await node.push(key: "sk_nobody").status == 401)
  }

  @Test func `a flushed store refuses nobody until it is sealed again`() async throws {
    let deployment = try await Deployment()
    try await deployment.publish(keys: 100)
    let node = try await deployment.startNode("node-1")
    try await node.becomesReady()
    try await deployment.redis("FLUSHALL")
    // Whatever the moment at which it is noticed: a key that was active is never refused, nor is any other.
    for _ in 0..<50 {
      #expect(try await node.push(key: Deployment.key(7)).status == 202)
      #expect(try await node.push(key: "sk_nobody").status == 503)
    }
    // It goes on being ready, since it can admit; what is wrong is in its status.
    try await eventually("the node says so") { try await node.get("/status").body.contains("there is no key store") }
    #expect(try await node.isReady())
    try await deployment.publish(keys: 100)
    try await deployment.run("key-publisher", ["adopt", try await node.storeID()])
    try await eventually("refusals are proven again") { try await node.push(key: "sk_nobody").status == 401 }
  }
}
