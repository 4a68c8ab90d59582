// After the faults, everything must return within a time limit to the state that it would have without them. Each step
// is visible to an operator. A step that doesn't happen in time is named.

import Foundation
import NIOCore
import NIOHTTP1
import RedisFixture

/// Waits for the end of a round.
struct Convergence {
  let deployment: Deployment
  let keys: KeyRing
  let clients: Clients
  let ledger: Ledger
  let sink: SinkReader
  let timeline: Timeline
  /// The round's name, unique in the run.
  let name: String
  let bound: Duration

  func reach(_ changes: KeyChanges.Done, _ chance: Chance) async throws {
    var chance = chance
    let deadline = ContinuousClock.now + bound
    func wait(_ what: String, _ condition: () async throws -> Bool) async throws {
      try await eventually(within: max(deadline - .now, .zero), what, condition)
      timeline.note(what)
    }
    try await wait("both nodes are ready") {
      for node in 0..<deployment.nodes.count where try await !isReady(node) { return false }
      return true
    }
    for node in 0..<deployment.nodes.count {
      try await wait("a fresh push is accepted by node-\(node + 1)") {
        let payload = try Payload(name: "\(name)-fresh-\(node)-\(chance.bits())", &chance)
        return await clients.pushOnce(payload, keys.active(&chance), to: node) == 202
      }
    }
    let left = max(Int((deadline - .now) / .seconds(1)), 1)
    let sync = try await deployment.run(
      "sync-status", ["wait", "--count", "\(deployment.nodes.count)", "--timeout", "\(left)s"],
      within: .seconds(left + 10))
    guard sync.status == .exited(0) else {
      throw NeverHappened(description: "the nodes aren't in sync after \(left) s: \(sync.standardError.text)")
    }
    timeline.note("both nodes are in sync")
    clients.faultsAreOver()
    try await ask(changes, &chance)
    var dead = 0
    try await wait("the queue is empty") {
      let queue = try await queue()
      dead = queue.dead
      guard queue.pending + queue.later + queue.claimed == 0 else { throw NeverHappened(description: "\(queue)") }
      return true
    }
    guard dead == 0 else { throw Trouble(description: "there are \(dead) dead letters, and nothing explains them") }
    try await store(deadline)
    timeline.note("all that was acknowledged is stored")
  }

  private func isReady(_ node: Int) async throws -> Bool {
    let connection = try await HTTPConnection.connect(port: deployment.ports[node].admin)
    defer { connection.close() }
    var head = HTTPRequestHead(version: .http1_1, method: .GET, uri: "/readyz")
    head.headers = ["host": "sluice"]
    return try await connection.ask(head, body: ByteBuffer(), within: .seconds(3)).status == 200
  }

  /// Keys that were put must be accepted now, and revoked ones refused: no fault prevents either. 503 is always
  /// allowed, so the client asks again.
  private func ask(_ changes: KeyChanges.Done, _ chance: inout Chance) async throws {
    for (asked, expected) in [(changes.put, 202), (changes.revoked, 403)] {
      for key in asked {
        for node in 0..<deployment.nodes.count {
          try await eventually(within: .seconds(5), "node-\(node + 1) answers \(expected) to \(key.secret)") {
            let payload = try Payload(name: "\(name)-asks-\(chance.bits())", &chance)
            return await clients.pushOnce(payload, key, to: node) == expected
          }
        }
      }
    }
  }

  /// Of what `sync-status --json` says.
  private struct Document: Decodable {
    struct Queue: Decodable, CustomStringConvertible {
      var pending: Int
      var later: Int
      var claimed: Int
      var dead: Int
      var description: String { "\(pending) pending, \(later) to be tried again, \(claimed) claimed, \(dead) dead" }
    }
    var queue: Queue?
    var error: String?
  }

  private func queue() async throws -> Document.Queue {
    let status = try await deployment.run("sync-status", ["--json"], within: .seconds(10))
    let document = try JSONDecoder().decode(Document.self, from: Data(status.standardOutput.text.utf8))
    guard let queue = document.queue else { throw NeverHappened(description: "sync-status: \(document.error ?? "-")") }
    return queue
  }

  /// The queue is empty. What is acknowledged is stored, or on its way there from a node's spool, which may have to notice first that
  /// a connection is dead; where nothing moves for so long it is nowhere.
  private func store(_ deadline: ContinuousClock.Instant) async throws {
    var last = Int.max
    var moved = ContinuousClock.now
    while true {
      try sink.read(into: ledger)
      let missing = ledger.missing
      if missing.isEmpty { return }
      if missing.count < last {
        last = missing.count
        moved = .now
      }
      guard .now - moved < (deployment.spool == nil ? .seconds(3) : .seconds(12)), .now < deadline else {
        throw Trouble(
          description: "\(missing.count) acknowledged payloads are lost:\n" + missing.prefix(10).joined(separator: "\n")
        )
      }
      try await Task.sleep(for: .milliseconds(50))
    }
  }
}
