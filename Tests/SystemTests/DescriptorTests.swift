// Nodes with limits on descriptors. Scripts/flood tests floods.

import Fleet
import Foundation
import RedisFixture
import Testing

struct DescriptorTests {
  /// A node under a limit, as prlimit has it: soft and hard.
  private func node(under limit: String, _ arguments: [String] = [], at redis: RedisServer) async throws
    -> ServiceProcess
  {
    let program = ServiceProcess.folder.appendingPathComponent("ingest-node").path
    return try await ServiceProcess.start(
      "/usr/bin/prlimit",
      [
        "--nofile=\(limit)", program, "--name", "node-1", "--listen", "127.0.0.1:0", "--admin", "127.0.0.1:0",
        "--threads", "2", "--grace", "0s",
      ] + arguments, environment: ["SLUICE_REDIS": "\(redis.tcpEndpoint)"])
  }

  private func connections(of node: ServiceProcess) async throws -> NodeReport.Connections? {
    let line = try await node.waitForLine(containing: "listening for operators")
    let address = String(try #require(line.firstMatch(of: /address=(\S+)/)?.1))
    let addresses = Node.Addresses(push: "", admin: address, agent: "")
    let answer = try await Node(name: "node-1", process: node, addresses: addresses).get("/status")
    return try JSONDecoder().decode(NodeReport.self, from: Data(answer.body.utf8)).connections
  }

  @Test func `the soft limit is raised to the hard one, and connections get what is left`() async throws {
    let redis = try await RedisServer.start()
    let node = try await node(under: "128:1024", at: redis)
    try await node.waitForLine(containing: "descriptor limit raised to the hard limit")
    let line = try await node.waitForLine(containing: "--max-connections lowered")
    let connections = try #require(try await connections(of: node))
    #expect(connections.descriptorLimit == 1024 && (600..<1024).contains(connections.limit))
    #expect(line.contains("connections=\(connections.limit)") && line.contains("max_connections=10000"), "\(line)")
    node.signal(SIGTERM)
    #expect(try await node.waitForExit() == .exited(0))
  }

  @Test func `where the limit is no matter it isn't mentioned`() async throws {
    let redis = try await RedisServer.start()
    let node = try await node(under: "1024:1024", ["--max-connections", "300"], at: redis)
    #expect(try await connections(of: node)?.limit == 300)
    #expect(!node.standardError.text.contains("descriptor"))
    node.signal(SIGTERM)
    #expect(try await node.waitForExit() == .exited(0))
  }

  @Test(arguments: ["EMFILE", "ENFILE", "ENOBUFS", "ENOMEM"])
  func `a listener that can't accept pauses, and goes on by itself`(error: String) async throws {
    let deployment = try await Deployment()
    try await deployment.publish(keys: 10)
    // strace as a grandchild, so that the process is the node; it counts calls by thread, and so by listener.
    let program = ServiceProcess.folder.appendingPathComponent("ingest-node").path
    let process = try await ServiceProcess.start(
      "/usr/bin/strace",
      [
        "-D", "-f", "-qq", "--seccomp-bpf", "-o", "/dev/null", "-e", "trace=accept,accept4", "-e",
        "inject=accept,accept4:error=\(error):when=1..6", program, "--name", "node-1", "--listen", "127.0.0.1:0",
        "--admin",
        "127.0.0.1:0", "--threads", "1", "--grace", "0s",
      ], environment: ["SLUICE_REDIS": "\(deployment.redis.tcpEndpoint)"])
    func address(_ purpose: String) async throws -> String {
      let line = try await process.waitForLine(containing: "listening for \(purpose)")
      return String(try #require(line.firstMatch(of: /address=(\S+)/)?.1))
    }
    let node = Node(
      name: "node-1", process: process,
      addresses: .init(push: try await address("pushes"), admin: try await address("operators"), agent: ""))
    let begun = ContinuousClock.now
    try await node.becomesReady()
    // 50, 100, 200, 400 and 800 ms, and one second: a node that tries again at once is through in a moment.
    #expect(ContinuousClock.now - begun > .seconds(2))
    #expect(try await node.push(key: Deployment.key(1)).status == 202)
    let metrics = try await node.get("/metrics").body
    for listener in ["admin", "push"] {
      #expect(metrics.contains("sluice_accept_failures_total{listener=\"\(listener)\"} 6\n"), "\(metrics)")
    }
    #expect(process.standardError.text.components(separatedBy: "accepting a connection failed").count <= 2 * 2 + 1)
    process.signal(SIGTERM)
    #expect(try await process.waitForExit() == .exited(0))
  }

  @Test func `with too few descriptors a node doesn't start, and says how many it needs`() async throws {
    let redis = try await RedisServer.start()
    let node = try await node(under: "64:64", at: redis)
    #expect(try await node.waitForExit() == .exited(1))
    try await node.waitForOutputs()
    let needed = try #require(
      node.standardError.text.firstMatch(of: /expected a limit of at least (\d+) open descriptors .*, got 64/)?.1)
    // With the number that its message names, it starts.
    let other = try await self.node(under: "\(needed):\(needed)", at: redis)
    #expect(try await connections(of: other)?.limit ?? 0 >= 1)
    other.signal(SIGTERM)
    #expect(try await other.waitForExit() == .exited(0))
  }

  @Test func `with too few descriptors a worker doesn't start, and says how many it needs`() async throws {
    let deployment = try await Deployment()
    let program = ServiceProcess.folder.appendingPathComponent("ingest-worker").path
    let worker = try await ServiceProcess.start(
      "/usr/bin/prlimit", ["--nofile=20:20", program, "--name", "worker-1", "--sink", "sqlite:\(deployment.database)"],
      environment: ["SLUICE_REDIS": "\(deployment.redis.tcpEndpoint)"])
    #expect(try await worker.waitForExit() == .exited(1))
    try await worker.waitForOutputs()
    #expect(worker.standardError.text.contains(/expected a limit of at least \d+ open descriptors .*, got 20/))
  }
}
