import Foundation
import RedisFixture
import Testing

/// Nodes run as a user without any rights, in containers above all. As root some mistakes don't show.
struct UnprivilegedTests {
  @Test func `a node that may do nothing special takes pushes`() async throws {
    let deployment = try await Deployment()
    try await deployment.publish(keys: 10)
    let node = try await deployment.startNode("node-1", asNobody: true)
    try await node.becomesReady()
    #expect(try await node.push(key: Deployment.key(1)).status == 202)
    #expect(try await node.push(key: "sk_nobody").status == 401)
    node.process.terminate()
    #expect(try await node.process.waitForExit() == .exited(0))
  }
}
