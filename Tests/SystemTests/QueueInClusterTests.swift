import Foundation
import Hiredis
import RedisClient
import RedisFixture
import Testing

/// The queue in a cluster, and its slot on the way from node to node under load.
@Suite(.timeLimit(.minutes(3))) struct QueueInClusterTests {
  @Test func `while the queue's slot moves, nothing is lost, doubled or refused`() async throws {
    let cluster = try await RedisCluster.start(appendOnly: .always)
    let deployment = try await Deployment()
    try await deployment.publish(keys: 100)
    // As the users that Deploy/redis/users.acl has for them: what follows a slot needs more than what pushes.
    func queue(as user: String) -> [String] {
      ["--queue", "\(cluster.endpoint)".replacing("://", with: "://\(user):\(user)@")]
    }
    try await cluster.giveUsers()
    let node = try await deployment.startNode("node-1", queue(as: "sluice-node"))
    try await node.becomesReady()
    let worker = try await deployment.startWorker("worker-1", ["--lease", "2"] + queue(as: "sluice-worker"))
    let pushes = NumberedPushes(to: node)
    let slot = try await cluster.slot(of: "sluice:{queue-0}:slot")
    func more(than count: Int) async throws {
      try await eventually(within: .seconds(30), "the worker goes on") { try deployment.stored().count > count }
    }

    try await pushes.running(lanes: 4) {
      try await pushes.goOn(for: 200)
      var home = try await cluster.owner(of: slot)
      for round in 0..<4 {
        let next = (home + 1 + round % 2) % 3
        try await more(than: try deployment.stored().count)
        try await cluster.beginMove(of: slot, from: home, to: next)
        // The worker waits from here on, until the slot has moved; pushes don't.
        try await pushes.goOn(for: 100)
        try await cluster.moveKeys(of: slot, from: home, to: next)
        try await pushes.goOn(for: 100)
        try await cluster.endMove(of: slot, from: home, to: next)
        try await pushes.goOn(for: 100)
        try await more(than: try deployment.stored().count)
        home = next
      }
    }

    let answered = pushes.answered
    let refused = answered.filter { $0.status != 202 }
    #expect(refused.isEmpty, "\(refused.count) refused, the first with \(refused.first?.body ?? "")")
    try await eventually(within: .seconds(60), "all \(answered.count) are stored") {
      try deployment.stored().count >= answered.count
    }
    let stored = try deployment.stored().map { try NumberedPushes.number(in: $0.body) }
    #expect(Set(stored) == Set(answered.map(\.number)))
    #expect(stored.count == answered.count)
    print("CLUSTER | \(answered.count) pushes while the slot moved four times, all stored once")
    worker.terminate()
    #expect(try await worker.waitForExit() == .exited(0), "\(worker.outputs)")
    node.process.terminate()
    _ = try await node.process.waitForExit()
    try await cluster.end()
  }
}
