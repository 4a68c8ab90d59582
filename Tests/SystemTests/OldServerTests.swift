// Every command rejects a server that is too old for Sluice, by its version.

import RedisFixture
import Testing

@Suite(.timeLimit(.minutes(2))) struct OldServerTests {
  @Test func `every command says which version it found and which it needs`() async throws {
    let redis = try await RedisServer.start(RedisServerOptions { $0.build = .redis6 })
    let deployment = try Deployment(redis: redis)
    let text = "Redis 6.2.14 at redis://127.0.0.1:\(redis.port): Sluice needs Redis 7.0 or later, or Valkey"
    let put = try await deployment.run(
      "key-publisher", ["put", "--key", "sk", "--account", "acme"], expecting: .exited(1))
    #expect(put.standardError.text.contains(text), "\(put.outputs)")
    let status = try await deployment.run("sync-status", [], expecting: .exited(2))
    #expect(status.standardError.text.contains(text), "\(status.outputs)")
    let node = try await deployment.startNode("node-1")
    try await node.process.waitForLine(containing: text)
    #expect(try await node.push(key: "sk").status == 503)
    let worker = try await deployment.startWorker("worker-1")
    try await worker.waitForLine(containing: text)
  }
}
