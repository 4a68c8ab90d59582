// One round: a calm in which pushes must work, faults while clients push, the end of all faults, and the comparison of
// ledger and sink.

import Foundation
import RedisFixture

/// What a round came to.
struct RoundResult: Sendable {
  var faults: [PlannedFault]
  var tally: Tally
  var took: Duration
  var convergence: Duration
  /// Envelopes that came back from claims of dead workers.
  var reaped: Int
  var keyChanges: Int
}

/// One round on running processes.
struct Round {
  let number: Int
  let seed: UInt64
  let plan: Plan
  let deployment: Deployment
  let keys: KeyRing
  let ledger: Ledger
  let sink: SinkReader
  let timeline: Timeline
  /// Of the run.
  let nonce: String
  let bound: Duration

  static let lanes = 12
  /// With less traffic than this before the faults a round proves nothing.
  static let floor = (acknowledged: 100, unknown: 1, blocked: 1)
  private static let floorWait = Duration.seconds(15)
  private var name: String { "\(nonce)-\(number)" }

  func run(span: Duration) async throws -> RoundResult {
    ledger.beginRound()
    let clients = Clients(
      ports: deployment.ports.map(\.push), keys: keys, ledger: ledger, timeline: timeline, name: name)
    let reapedBefore = deployment.workers.reduce(0) { $0 + $1.reaped }
    let publisher = KeyChanges(
      deployment: deployment, keys: keys, clients: clients, ledger: ledger, timeline: timeline, name: name)
    var changes = try await withThrowingTaskGroup(of: KeyChanges.Done?.self) { group in
      defer { clients.end() }
      for lane in 0..<Self.lanes {
        group.addTask {
          try await clients.run(lane, Chance(seed: seed, round: number, stream: 100 + lane))
          return nil
        }
      }
      try await calm(clients)
      let isOver = Latch()
      group.addTask { try await publisher.run(Chance(seed: seed, round: number, stream: 1)) { isOver.isSet } }
      clients.faultsBegin()
      do {
        try await misbehave(span: span)
      } catch {
        isOver.set()
        throw error
      }
      isOver.set()
      clients.end()
      var done = KeyChanges.Done()
      for try await changes in group { done = changes ?? done }
      return done
    }
    let letGo = ContinuousClock.now
    timeline.note("all is let go")
    try await deployment.restore()
    // Without a failover nothing is lost, and the nodes must be in sync without the publisher's help.
    if deployment.replicated != nil {
      try await publisher.finish(&changes, Chance(seed: seed, round: number, stream: 5), within: bound)
    }
    try await Convergence(
      deployment: deployment, keys: keys, clients: clients, ledger: ledger, sink: sink, timeline: timeline, name: name,
      bound: bound
    ).reach(changes, Chance(seed: seed, round: number, stream: 2))
    if let violation = ledger.violations.first {
      throw Trouble(
        description: "\(ledger.violationCount) times something happened that must not, first:\n"
          + ledger.violations.prefix(10).joined(separator: "\n") + (violation.isEmpty ? "" : "\n"))
    }
    for member in deployment.members where !member.isRunning {
      throw Trouble(description: "\(member.role) ended by itself")
    }
    return RoundResult(
      faults: plan.faults, tally: clients.current, took: timeline.elapsed, convergence: .now - letGo,
      reaped: deployment.workers.reduce(0) { $0 + $1.reaped } - reapedBefore,
      keyChanges: changes.put.count + changes.revoked.count)
  }

  private func calm(_ clients: Clients) async throws {
    do {
      try await eventually(within: Self.floorWait, "the traffic before the faults") {
        let tally = clients.current
        return tally.acknowledged >= Self.floor.acknowledged && tally.unknown >= Self.floor.unknown
          && tally.blocked >= Self.floor.blocked
      }
    } catch {
      throw Trouble(
        description: "before the faults there was too little traffic, so nothing would be proven: \(clients.current)")
    }
    timeline.note(
      "the faults may begin: \(clients.current.acknowledged) acknowledged, \(clients.current.refused) refused")
  }

  /// All faults at their times, each undone at its end.
  private func misbehave(span: Duration) async throws {
    try await withThrowingTaskGroup(of: Void.self) { group in
      let began = ContinuousClock.now
      // One after the other what is done to one thing: undoing the first may have taken longer than it should.
      for faults in Dictionary(grouping: plan.faults, by: \.fault.target).values {
        group.addTask {
          for planned in faults {
            try await Task.sleep(until: began + planned.at, clock: .continuous)
            try await Mischief(deployment: deployment, timeline: timeline).commit(planned)
          }
        }
      }
      group.addTask { try await Task.sleep(for: span) }
      try await group.waitForAll()
    }
  }
}
