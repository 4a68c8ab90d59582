import Foundation
import RedisFixture
import Testing

/// A node that starts again knows the keys that it knew before, and nothing about any other.
struct WarmStartTests {
  @Test func `with Redis away a restarted node admits the keys it knew and refuses nobody`() async throws {
    let deployment = try await Deployment(appendOnly: .always)
    try await deployment.publish(keys: 1_000)
    let folder = deployment.folder.path("state")
    let first = try await deployment.startNode("node-1", ["--state-dir", folder])
    try await first.becomesReady()
    first.process.terminate()
    #expect(try await first.process.waitForExit() == .exited(0))
    try await deployment.redis.stop()

    let second = try await deployment.startNode("node-1", ["--state-dir", folder])
    #expect(try await second.get("/status").body.contains(/"state" ?: ?"restored"/))
    #expect(try await !second.isReady())
    // The key is admitted; it is the queue that is away, being in the same Redis.
    #expect(try await second.push(key: Deployment.key(1)).member("reason") == "queue_away")
    #expect(try await second.push(key: "sk_nobody").member("reason") == "store_away")
    try await deployment.redis.restart()
    try await second.becomesReady()
    // Nothing had changed, so nothing was read again.
    #expect(!second.process.outputs.contains("reading changed buckets"))
    #expect(try await second.push(key: Deployment.key(1)).status == 202)
    #expect(try await second.push(key: "sk_nobody").status == 401)
  }

  @Test func `a damaged state file is a cold start and a clear line`() async throws {
    let deployment = try await Deployment()
    try await deployment.publish(keys: 100)
    let folder = deployment.folder.path("state")
    let first = try await deployment.startNode("node-1", ["--state-dir", folder])
    try await first.becomesReady()
    first.process.terminate()
    #expect(try await first.process.waitForExit() == .exited(0))
    let file = URL(fileURLWithPath: folder).appendingPathComponent("mirror.sluice")
    var bytes = try Data(contentsOf: file)
    bytes[bytes.count / 2] ^= 1
    try bytes.write(to: file)

    let second = try await deployment.startNode("node-1", ["--state-dir", folder])
    try await second.process.waitForLine(containing: "its checksum doesn't fit")
    try await second.becomesReady()
    #expect(try await second.push(key: Deployment.key(1)).status == 202)
  }
}
