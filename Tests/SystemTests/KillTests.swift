import Foundation
import NIOHTTP1
import RedisFixture
import Synchronization
import Testing

/// Every acknowledged payload is stored exactly once, whichever process is killed in the meantime.
struct KillTests {
  /// Ids of payloads whose 202 a client has seen.
  private final class Ledger: Sendable {
    private let ids = Mutex<Set<String>>([])
    var count: Int { ids.withLock(\.count) }
    var all: Set<String> { ids.withLock { $0 } }
    func note(_ id: String) { ids.withLock { _ = $0.insert(id) } }
  }

  /// The nodes that clients push to now.
  private final class Targets: Sendable {
    private let nodes: Mutex<[Node]>
    init(_ nodes: [Node]) { self.nodes = Mutex(nodes) }
    subscript(index: Int) -> Node { nodes.withLock { $0[index] } }
    func replace(_ index: Int, by node: Node) { nodes.withLock { $0[index] = node } }
  }

  enum Victim: String, CaseIterable, Sendable {
    case worker, node, redis
  }

  @Test(arguments: Victim.allCases)
  func `every acknowledged payload is stored exactly once after a kill`(victim: Victim) async throws {
    let deployment = try await Deployment(appendOnly: .always)
    try await deployment.publish(keys: 100)
    let nodes = Targets([try await deployment.startNode("node-1"), try await deployment.startNode("node-2")])
    for index in 0..<2 { try await nodes[index].becomesReady() }
    // Small batches and a short lease: the dead worker's batch has to come back within the test.
    let workerArguments = ["--batch", "20", "--lease", "2"]
    let first = try await deployment.startWorker("worker-1", workerArguments)
    let second = try await deployment.startWorker("worker-2", workerArguments)
    let ledger = Ledger()
    let payloads = 1_000

    try await withThrowingTaskGroup(of: Void.self) { group in
      for lane in 0..<8 {
        group.addTask {
          for number in stride(from: lane, to: payloads, by: 8) {
            // As a client does that keeps its payload until it is taken, and says which it is.
            try await eventually(within: .seconds(60), "payload \(number) is taken") {
              let node = nodes[number % 2]
              let answer = try await node.push(
                Array("{\"number\":\(number)}".utf8), key: Deployment.key(number % 100),
                headers: ["idempotency-key": "payload-\(number)"])
              #expect(answer.status == 202 || answer.status == 503, "\(answer.status) \(answer.body)")
              if answer.status == 202 { ledger.note(answer.member("id") ?? "no id") }
              return answer.status == 202
            }
          }
        }
      }
      try await eventually(within: .seconds(30), "a third is acknowledged and some of it stored") {
        try ledger.count > payloads / 3 && !deployment.stored().isEmpty
      }
      switch victim {
      case .worker:
        first.kill9()
        _ = try await first.waitForExit()
      case .node:
        nodes[0].process.kill9()
        _ = try await nodes[0].process.waitForExit()
        nodes.replace(0, by: try await deployment.startNode("node-1"))
      case .redis:
        try await deployment.redis.kill9()
        try await deployment.redis.restart()
      }
      try await group.waitForAll()
    }

    let acknowledged = ledger.all
    #expect(acknowledged.count == payloads)
    try await eventually(within: .seconds(60), "all \(payloads) are stored") {
      try Set(deployment.stored().map(\.id)).isSuperset(of: acknowledged)
    }
    let stored = try deployment.stored()
    #expect(stored.count == payloads)
    #expect(Set(stored.map(\.body)).count == payloads)
    for worker in [first, second] where worker.status == nil {
      worker.terminate()
      #expect(try await worker.waitForExit() == .exited(0), "\(worker.outputs)")
    }
    #expect(try deployment.stored().count == payloads)
  }
}
