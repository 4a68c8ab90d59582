// Programs whose standard error has no reader any more: a log collector that died, a terminal that was closed. A write
// to such a pipe raises SIGPIPE, which ends a process unless the signal is blocked or ignored.

import Foundation
import RedisFixture
import Testing

@Suite(.timeLimit(.minutes(2))) struct ClosedLogTests {
  /// Starts a program whose standard error is a pipe that has lost its reader before the first line.
  private func start(
    _ program: String, _ arguments: [String], at deployment: Deployment
  ) async throws -> ServiceProcess {
    // The reader has ended when `wait` returns. The signal's default action is restored because a test process may
    // ignore it, and its children inherit that.
    let script = #"exec 2> >(exec true); wait $!; exec /usr/bin/env --default-signal=PIPE "$0" "$@""#
    let path = ServiceProcess.folder.appendingPathComponent(program).path
    return try await deployment.start("/bin/bash", ["-c", script, path] + arguments)
  }

  @Test func `a node whose log nobody reads from its first line on accepts pushes, and ends in good order`()
    async throws
  {
    let deployment = try await Deployment()
    try await deployment.publish(keys: 2)
    let process = try await start(
      "ingest-node",
      ["--name", "node-1", "--listen", "127.0.0.1:0", "--admin", "127.0.0.1:0", "--grace", "0s"], at: deployment)
    // Without a log only its report says at which port it listens.
    var listen: String?
    try await eventually(within: .seconds(60), "it is in sync and says where it listens") {
      let run = try await deployment.run("sync-status", ["--json"], expecting: nil)
      let match = run.standardOutput.text.firstMatch(of: /"listen" : "(127\.0\.0\.1:[1-9]\d*)"/)
      listen = match.map { String($0.1) }
      return listen != nil && run.status == .exited(0)
    }
    let push = try #require(listen)
    let node = Node(
      name: "node-1", process: process, addresses: Node.Addresses(push: push, admin: push, agent: push))
    #expect(try await node.push(key: Deployment.key(1)).status == 202)
    // This is a line in its log.
    #expect(try await node.push(key: "unknown").status == 401)
    #expect(try await node.push(key: Deployment.key(1)).status == 202)
    process.terminate()
    #expect(try await process.waitForExit() == .exited(0))
  }
}
