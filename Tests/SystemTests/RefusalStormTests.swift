// The refusal valve with real processes. If most keys that clients send are unknown, it is more likely that the store
// lacks keys than that most clients aren't customers.

import Foundation
import NIOHTTP1
import RedisFixture
import Synchronization
import Testing

@Suite(.timeLimit(.minutes(3))) struct RefusalStormTests {
  /// The statuses that clients were answered, by key.
  private final class Heard: Sendable {
    private let statuses = Mutex<[String: [Int]]>([:])

    func note(_ key: String, _ status: Int) { statuses.withLock { $0[key, default: []].append(status) } }
    func forget() { statuses.withLock { $0 = [:] } }
    /// The keys that were answered this status.
    func keys(_ status: Int) -> Set<String> {
      statuses.withLock { statuses in Set(statuses.filter { $0.value.contains(status) }.keys) }
    }
    var all: Set<Int> { statuses.withLock { Set($0.values.flatMap { $0 }) } }
  }

  /// Pushes once with each key, on several connections at once.
  private func push(_ keys: [String], to node: Node, lanes: Int = 4, _ heard: Heard) async throws {
    try await withThrowingTaskGroup(of: Void.self) { group in
      for lane in 0..<lanes {
        group.addTask {
          for index in stride(from: lane, to: keys.count, by: lanes) {
            let answer = try await node.push(key: keys[index])
            heard.note(keys[index], answer.status)
            if answer.status == 503 {
              #expect(answer.member("reason") == "refusal_storm" && answer.headers["retry-after"].count == 1)
            }
          }
        }
      }
      try await group.waitForAll()
    }
  }

  private func recentKeys(_ node: Node) async throws -> [String: Any] {
    let status = try JSONSerialization.jsonObject(with: Data(try await node.get("/status").body.utf8))
    return try #require((status as? [String: Any])?["recent_keys"] as? [String: Any])
  }

  private func isStorm(_ node: Node) async throws -> Bool { try await recentKeys(node)["storm"] as? Bool == true }

  /// Waits until sync-status says to confirm a number of keys.
  private func isTold(_ deployment: Deployment, toConfirm number: Int? = nil) async throws {
    try await eventually("sync-status says what to do") {
      let status = try await deployment.run("sync-status", [], expecting: nil)
      return status.status == .exited(1) && status.standardOutput.text.contains("IN SYNC, WITH PROBLEMS")
        && status.standardOutput.lines.contains {
          guard $0.contains("wrong: node-1 "), let command = $0.range(of: "refused: key-publisher confirm-unknown ")
          else {
            return false
          }
          let rest = $0[command.upperBound...]
          return number.map { rest == "\($0)" } ?? (Int(rest) != nil)
        }
    }
  }

  @Test func `a store with a third of the keys: nine customers of a node hear 401, and then nobody`()
    async throws
  {
    let deployment = try await Deployment()
    try await deployment.publish(keys: 100)
    let node = try await deployment.startNode("node-1", ["--refusal-storm-window", "4s"])
    try await node.becomesReady()
    let (known, unknown) = (Set((0..<100).map(Deployment.key)), Set((100..<300).map(Deployment.key)))
    let customers = (0..<100).flatMap { [$0, $0 + 100, $0 + 200] }.map(Deployment.key)
    let heard = Heard()
    // One key after the other, so that the first nine unknown keys are known.
    try await push(customers, to: node, lanes: 1, heard)
    #expect(heard.keys(401) == Set(customers.filter(unknown.contains).prefix(9)))
    #expect(heard.keys(202) == known)
    #expect(heard.keys(503).count == 191)
    #expect(try await isStorm(node))
    #expect(try await node.isReady())
    _ = try await node.process.waitForLine(containing: "refusal storm")

    // For several windows, so that the node forgets keys in the meantime.
    heard.forget()
    let end = ContinuousClock.now + .seconds(14)
    try await withThrowingTaskGroup(of: Void.self) { group in
      group.addTask { while ContinuousClock.now < end { try await push(customers, to: node, heard) } }
      try await isTold(deployment)
      try await group.waitForAll()
    }
    #expect(heard.all == [202, 503])
    #expect(heard.keys(202) == known && heard.keys(503) == unknown)
    #expect(try await node.get("/metrics").body.contains(/sluice_refusal_storm(?:{.*})? 1/))

    // The rest of the list arrives.
    try await deployment.publish(keys: 300)
    try await eventually("all are known") { try await node.push(key: Deployment.key(299)).status == 202 }
    heard.forget()
    try await push(customers, to: node, heard)
    #expect(heard.all == [202])
    try await eventually("it is over") {
      try await push(customers, to: node, heard)
      return try await !isStorm(node)
    }
    #expect(try await node.push(key: "sk_nobody").status == 401)
    try await eventually("all is well") {
      try await deployment.run("sync-status", [], expecting: nil).status == .exited(0)
    }
  }

  @Test func `beside an attacker with random keys good clients notice nothing, and keys that are put work at once`()
    async throws
  {
    let deployment = try await Deployment()
    try await deployment.publish(keys: 50)
    let node = try await deployment.startNode("node-1", ["--refusal-storm-window", "2s"])
    try await node.becomesReady()
    let (good, bad) = (Heard(), Heard())
    let customers = (0..<50).map(Deployment.key)
    try await push(customers, to: node, good)
    try await withThrowingTaskGroup(of: Void.self) { group in
      group.addTask {
        do {
          var number = 0
          while true {
            try Task.checkCancellation()
            try await push((number..<number + 40).map { "sk_random_\($0)" }, to: node, bad)
            number += 40
          }
        } catch is CancellationError {}
      }
      try await eventually("the valve closes") { try await isStorm(node) }
      bad.forget()
      for number in 0..<30 {
        try await push(customers, to: node, good)
        // A customer who has just signed up doesn't wait.
        try await deployment.run("key-publisher", ["put", "--key", "sk_late_\(number)", "--account", "late"])
        let answer = try await node.push(key: "sk_late_\(number)")
        #expect(answer.status == 202, "\(answer.body)")
      }
      #expect(bad.all.isSubset(of: [503]), "\(bad.all)")
      #expect(!bad.keys(503).isEmpty)
      group.cancelAll()
      do { try await group.waitForAll() } catch is CancellationError {}
    }
    #expect(good.all == [202])
    try await eventually("it is over") {
      try await push(customers, to: node, good)
      return try await node.push(key: "sk_nobody").status == 401
    }
    #expect(good.all == [202])
  }

  @Test func `one revoked key that hammers hears 403 throughout, and an unknown one 401`() async throws {
    let deployment = try await Deployment()
    try await deployment.publish(keys: 20)
    for number in 0..<12 {
      try await deployment.run("key-publisher", [number == 0 ? "revoke" : "suspend", "--key", Deployment.key(number)])
    }
    let node = try await deployment.startNode("node-1")
    try await node.becomesReady()
    let heard = Heard()
    for _ in 0..<50 { try await push(Array(repeating: Deployment.key(0), count: 20), to: node, heard) }
    // Only keys that aren't active. Each has a record that says so.
    for _ in 0..<5 { try await push((0..<12).map(Deployment.key), to: node, heard) }
    #expect(heard.all == [403])
    #expect(try await node.push(key: "sk_nobody").status == 401)
    #expect(try await recentKeys(node)["unknown"] as? Int == 1)
  }

  @Test func `a store that rightly has no keys refuses them once an operator has confirmed, on all nodes and for good`()
    async throws
  {
    let deployment = try await Deployment()
    try await deployment.run("key-publisher", ["seal", "--allow-empty"])
    var nodes = [try await deployment.startNode("node-1"), try await deployment.startNode("node-2")]
    for node in nodes { try await node.becomesReady() }
    let agents = (0..<60).map { "sk_former_\($0)" }
    for node in nodes {
      let heard = Heard()
      try await push(agents, to: node, lanes: 1, heard)
      #expect(heard.keys(401) == Set(agents.prefix(9)) && heard.keys(503).count == 51)
    }
    try await isTold(deployment, toConfirm: 60)
    try await deployment.run("key-publisher", ["confirm-unknown", "60"])
    func expectRefused(_ node: Node) async throws {
      try await eventually("\(node.name) has heard of it") { try await recentKeys(node)["confirmed"] as? Int == 60 }
      let heard = Heard()
      try await push(agents, to: node, heard)
      #expect(heard.all == [401], "\(node.name)")
    }
    for node in nodes { try await expectRefused(node) }
    try await eventually("all is well") {
      let status = try await deployment.run("sync-status", [], expecting: nil)
      return status.status == .exited(0) && status.standardOutput.text.contains("60 unknown keys confirmed")
    }
    nodes[0].process.kill9()
    _ = try await nodes[0].process.waitForExit()
    nodes[0] = try await deployment.startNode("node-1")
    try await nodes[0].becomesReady()
    try await expectRefused(nodes[0])

    // Up to twice the confirmed number of keys is refused. Further keys are answered 503.
    let heard = Heard()
    try await push((0..<130).map { "sk_former_\($0)" }, to: nodes[0], lanes: 1, heard)
    #expect(heard.keys(401).count == 120 && heard.keys(503).count == 10)
    try await deployment.run("key-publisher", ["confirm-unknown", "0"])
    try await eventually("it is taken back") { try await nodes[1].push(key: agents[0]).status == 503 }
  }
}
