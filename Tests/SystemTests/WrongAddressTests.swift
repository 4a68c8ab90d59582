// A Redis whose mode or TLS settings don't match its URL: each command says which part of the address to change.

import Foundation
import RedisClient
import RedisFixture
import Testing

@Suite(.timeLimit(.minutes(3))) struct WrongAddressTests {
  private func expect(_ text: String, of deployment: Deployment, rejects raw: [String] = []) async throws {
    // Redis can't be reached there, as far as the command knows: the server may be changed as well as the address.
    let put = try await deployment.run(
      "key-publisher", ["put", "--key", "sk", "--account", "acme"], expecting: .exited(75))
    let status = try await deployment.run("sync-status", [], expecting: .exited(2))
    let node = try await deployment.startNode("node-1")
    try await node.process.waitForLine(containing: text)
    #expect(try await node.push(key: "sk").status == 503)
    let worker = try await deployment.startWorker("worker-1")
    try await worker.waitForLine(containing: text)
    #expect(put.standardError.text.contains(text), "\(put.outputs)")
    #expect(status.standardError.text.contains(text), "\(status.outputs)")
    for output in [put.outputs, status.outputs, node.process.outputs, worker.outputs] {
      for raw in raw { #expect(!output.contains(raw), "\(output)") }
    }
  }

  @Test func `a Redis alone is no cluster`() async throws {
    let redis = try await RedisServer.start()
    let place = "127.0.0.1:\(redis.port)"
    try await expect(
      "\(place) runs without cluster mode: write redis://\(place) instead of redis+cluster://",
      of: try Deployment(redis: redis, settings: ["SLUICE_REDIS": "redis+cluster://\(place)"]))
  }

  @Test func `a node of a cluster is no Redis alone`() async throws {
    let cluster = try await RedisCluster.start()
    let place = "127.0.0.1:\(cluster.nodes[1].port)"
    try await expect(
      "redis://\(place) is a node of a cluster of 3 shards: write redis+cluster://\(place) instead of redis://",
      of: try Deployment(redis: cluster.nodes[1]))
    try await cluster.end()
  }

  @Test func `what is wrong with TLS is said in a sentence`() async throws {
    let redis = try await RedisServer.start(
      RedisServerOptions {
        $0.tls = true
        $0.arguments = ["--tls-auth-clients", "yes"]
      })
    let place = "127.0.0.1:\(redis.tlsPort)"
    let raw = ["NIOSSL", "sslError", "OPENSSL", "errno"]
    try await expect(
      "Redis's certificate isn't trusted",
      of: try Deployment(redis: redis, settings: ["SLUICE_REDIS": "rediss://\(place)"]),
      rejects: raw)
    let url = "rediss://\(place)?cafile=\(redis.folder.path("ca.crt"))"
    try await expect(
      "Redis asks for a client's certificate: give certfile= and keyfile=",
      of: try Deployment(redis: redis, settings: ["SLUICE_REDIS": url]), rejects: raw)
  }
}
