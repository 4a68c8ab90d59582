import RedisFixture
import Testing

/// A node has three listeners, and doesn't run without any of them.
struct TakenPortTests {
  @Test(arguments: ["--listen", "--admin", "--agent-check"])
  func `a node that finds a port taken says so and ends`(option: String) async throws {
    let deployment = try await Deployment()
    try await deployment.publish(keys: 10)
    let first = try await deployment.startNode("node-1")
    let taken = ["--listen": first.push, "--admin": first.admin, "--agent-check": first.addresses.agent]
    var arguments = [
      "--name": "node-2", "--listen": "127.0.0.1:0", "--admin": "127.0.0.1:0", "--agent-check": "127.0.0.1:0",
    ]
    arguments[option] = taken[option]
    // With the grace that it has by default, which there is no reason for here.
    let second = try await deployment.run(
      "ingest-node", arguments.flatMap { [$0.key, $0.value] }, expecting: .exited(1), within: .seconds(4))
    let address = try #require(taken[option])
    let port = try #require(address.split(separator: ":").last)
    let why =
      "can't listen at \(address): Address already in use; another process has port \(port): end it, or choose another "
      + "port (\(option))"
    #expect(second.outputs.contains(why), "\(second.outputs)")
    #expect(!second.outputs.contains("errno"), "\(second.outputs)")
    try await eventually("sync-status says why it ended") {
      let page = try await deployment.run("sync-status", [], expecting: nil)
      return page.status == .exited(1)
        && page.standardOutput.lines.contains { $0.contains("wrong: node-2 ended by an error") && $0.contains(why) }
    }
  }
}
