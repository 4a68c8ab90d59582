// A payload that is larger than its Redis accepts: its client is answered 413, and other clients aren't affected.

import Hiredis
import RedisFixture
import Testing

struct PayloadLimitTests {
  struct Limit: Sendable, CustomTestStringConvertible {
    var build: RedisBuild
    var setting: String
    var testDescription: String { "\(setting) on \(build)" }
  }

  private static func limits(_ settings: [String]) -> [Limit] {
    RedisBuild.supported.flatMap { build in settings.map { Limit(build: build, setting: $0) } }
  }

  /// More than any of the limits takes.
  private static let large = [UInt8](repeating: 0x20, count: 3 << 20)

  private func withNode(
    _ limit: Limit, _ arguments: [String] = [], _ body: (Node, SteadyLoad, Deployment) async throws -> Void
  ) async throws {
    let redis = try await RedisServer.start(
      RedisServerOptions {
        $0.build = limit.build
        $0.arguments = "--\(limit.setting)".split(separator: " ").map(String.init) + arguments
      })
    let deployment = try Deployment(redis: redis)
    try await deployment.publish(keys: 100)
    let node = try await deployment.startNode("node-1", ["--threads", "1"])
    try await node.becomesReady()
    try await body(node, SteadyLoad { try await WireConnection.connected(to: node.push) }, deployment)
  }

  @Test(
    arguments: limits([
      "proto-max-bulk-len 1mb", "client-query-buffer-limit 1mb", "maxmemory-clients 6mb",
      "client-output-buffer-limit normal 4mb 0 0",
    ]))
  func `a payload that Redis wouldn't take is 413 before it is sent, and others hear nothing of it`(limit: Limit)
    async throws
  {
    try await withNode(limit) { node, load, _ in
      let tally = try await load.running(connections: 8) {
        for _ in 0..<20 {
          let answer = try await node.push(Self.large, key: Deployment.key(1))
          #expect(answer.status == 413, "\(answer.body)")
        }
        try await load.goesOn(for: 100)
      }
      #expect(tally.failures.isEmpty && Set(tally.valid.keys) == [202], "\(tally.valid) \(tally.failures)")
    }
  }

  /// Where CONFIG is forbidden. Each try closes the connection that it is made on.
  @Test(arguments: limits(["proto-max-bulk-len 1mb", "client-query-buffer-limit 1mb"]))
  func `where the limit can't be read it is learned from a few payloads, and others hear nothing of it`(limit: Limit)
    async throws
  {
    try await withNode(limit, ["--rename-command", "CONFIG", ""]) { node, load, _ in
      var large: [Int] = []
      let tally = try await load.running(connections: 8) {
        while large.suffix(10) != Array(repeating: 413, count: 10)[...], large.count < 100 {
          large.append(try await node.push(Self.large, key: Deployment.key(1)).status)
          try await load.goesOn(for: 10)
        }
        try await load.goesOn(for: 100)
      }
      #expect(large.count { $0 != 413 } <= 3, "\(large)")
      #expect(tally.failures.isEmpty && Set(tally.valid.keys) == [202], "\(tally.valid) \(tally.failures)")
    }
  }

  // MARK: What workers are handed

  /// Redis closes the connection of a worker that is handed more, and says nothing.
  @Test(arguments: RedisBuild.supported)
  func `a worker that may be handed little takes little at a time`(build: RedisBuild) async throws {
    let limit = Limit(build: build, setting: "client-output-buffer-limit normal 1mb 0 0")
    try await withNode(limit) { node, _, deployment in
      for number in 0..<150 {
        let answer = try await node.push([UInt8](repeating: 0x20, count: 60_000), key: Deployment.key(number % 100))
        #expect(answer.status == 202)
      }
      let worker = try await deployment.startWorker("worker-1", ["--lease", "5"])
      try await eventually(within: .seconds(60), "all are stored") { try deployment.stored().count == 150 }
      #expect(try await deployment.deadLetters() == 0)
      worker.terminate()
      #expect(try await worker.waitForExit() == .exited(0), "\(worker.outputs)")
    }
  }

  @Test(arguments: RedisBuild.supported)
  func `a payload that Redis can't hand out is a dead letter, and others are stored`(build: RedisBuild) async throws {
    try await withNode(Limit(build: build, setting: "client-output-buffer-limit normal 0 0 0")) { node, _, deployment in
      #expect(try await node.push(Self.large, key: Deployment.key(1)).status == 202)
      for number in 0..<20 { #expect(try await node.push(key: Deployment.key(number)).status == 202) }
      try await deployment.redis("CONFIG", "SET", "client-output-buffer-limit", "normal 1mb 0 0")
      let worker = try await deployment.startWorker("worker-1", ["--lease", "5"])
      try await eventually(within: .seconds(60), "the others are stored") { try deployment.stored().count == 20 }
      try await eventually(within: .seconds(90), "the large one is a dead letter") {
        try await deployment.deadLetters() == 1
      }
      #expect(try deployment.stored().count == 20)
      worker.terminate()
      #expect(try await worker.waitForExit() == .exited(0), "\(worker.outputs)")
    }
  }
}
