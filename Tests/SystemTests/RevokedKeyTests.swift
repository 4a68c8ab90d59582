import Foundation
import RedisFixture
import Testing

/// Payloads whose key was revoked after they had been accepted.
struct RevokedKeyTests {
  /// The queue lies on a Redis of its own, so that the key store can be away alone.
  private struct Bench {
    let deployment: Deployment
    let queue: RedisServer

    /// Two payloads of each of five keys are in the queue; then key 1 is revoked and key 2 suspended.
    init() async throws {
      deployment = try await Deployment()
      queue = try await RedisServer.start()
      try await deployment.publish(keys: 10)
      let node = try await deployment.startNode("node-1", ["--queue", "\(queue.tcpEndpoint)"])
      try await node.becomesReady()
      for number in 0..<10 {
        let answer = try await node.push(Array("key \(number % 5)".utf8), key: Deployment.key(number % 5))
        #expect(answer.status == 202)
      }
      try await deployment.run("key-publisher", ["revoke", "--key", Deployment.key(1)])
      try await deployment.run("key-publisher", ["suspend", "--key", Deployment.key(2)])
    }

    func startWorker(_ arguments: [String]) async throws -> ServiceProcess {
      try await deployment.startWorker("worker-1", ["--queue", "\(queue.tcpEndpoint)"] + arguments)
    }

    /// The keys of the stored payloads, once there are this many.
    func stored(_ count: Int) async throws -> Set<String> {
      try await eventually(within: .seconds(30), "\(count) are stored") { try deployment.stored().count >= count }
      return Set(try deployment.stored().map { String(decoding: $0.body, as: UTF8.self) })
    }
  }

  @Test func `with a proof they are discarded and counted, and those of a suspended key are stored`() async throws {
    let bench = try await Bench()
    let worker = try await bench.startWorker(["--when-revoked", "discard"])
    #expect(try await bench.stored(8) == ["key 0", "key 2", "key 3", "key 4"])
    let line = try await worker.waitForLine(containing: "discarding payloads")
    #expect(line.contains("version=") && line.contains("epoch="), "\(line)")
    try await eventually("the fleet knows") {
      let status = try await bench.deployment.run("sync-status", ["--json"], expecting: nil)
      return status.standardOutput.text.contains(/"discarded" ?: ?2\b/)
    }
    worker.terminate()
    #expect(try await worker.waitForExit() == .exited(0))
    #expect(try bench.deployment.stored().count == 8)
  }

  @Test func `while the key store is away they are stored: nothing can be proven`() async throws {
    let bench = try await Bench()
    try await bench.deployment.redis.kill9()
    let worker = try await bench.startWorker(["--when-revoked", "discard"])
    #expect(try await bench.stored(10).count == 5)
    worker.terminate()
    #expect(try await worker.waitForExit() == .exited(0))
  }

  @Test func `unless a worker is told to discard them they are stored`() async throws {
    let bench = try await Bench()
    let worker = try await bench.startWorker([])
    #expect(try await bench.stored(10).count == 5)
    worker.terminate()
    #expect(try await worker.waitForExit() == .exited(0))
  }
}
