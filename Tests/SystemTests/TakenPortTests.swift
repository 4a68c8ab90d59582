import RedisFixture
import Testing

/// A node has three listeners, and without any of them it is none.
struct TakenPortTests {
  @Test(arguments: ["--listen", "--admin", "--agent-check"])
  func `a node that finds a port taken says so and ends`(option: String) async throws {
    let deployment = try await Deployment()
    try await deployment.publish(keys: 10)
    let first = try await deployment.startNode("node-1")
    let taken = ["--listen": first.push, "--admin": first.admin, "--agent-check": first.addresses.agent]
    var arguments = ["--listen": "127.0.0.1:0", "--admin": "127.0.0.1:0", "--agent-check": "127.0.0.1:0"]
    arguments[option] = taken[option]
    // With the grace that it has by default, which there is no reason for here.
    let second = try await deployment.run(
      "ingest-node", arguments.flatMap { [$0.key, $0.value] }, expecting: .exited(1), within: .seconds(4))
    #expect(second.outputs.contains("Address already in use"), "\(second.outputs)")
  }
}
