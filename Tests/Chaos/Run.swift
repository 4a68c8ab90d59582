// All rounds of a run, on one deployment for each server program, and their totals.

import Foundation
import RedisFixture

/// Rounds, one after the other.
struct Run {
  let seed: UInt64
  let folder: URL
  let span: Duration
  let bound: Duration
  let showsTimelines: Bool
  /// Which the server of each round is drawn from.
  let servers: [RedisBuild]

  /// A round that failed, with what is to be known of it.
  struct Failure: Error {
    let round: Int
    let reason: String
    /// The faults, the timeline and the logs.
    let text: String
  }

  func run(_ rounds: Range<Int>) async throws {
    let failover = try await Deployment.knows("ingest-node", "--require-durability")
    let nonce = String(UInt64.random(in: 0...UInt64.max), radix: 36)
    // Started when it is first drawn. They live on beside each other: what a round leaves is what the next one on that
    // server finds.
    var stages: [RedisBuild: Stage] = [:]
    var total = Total()
    for number in rounds {
      let server = Plan.server(seed: seed, round: number, from: servers)
      if failover && Plan.failsOver(seed: seed, round: number) {
        // On processes of its own: afterwards nothing is where it was.
        let folder = folder.appending(path: "failover-\(number)")
        let plan = Plan(failoverOf: seed, round: number)
        let own = try await Stage(.replicated, on: server, in: folder)
        total.add(try await play(number, plan, on: own, nonce), on: server)
        try await end(own, after: number)
        try FileManager.default.removeItem(at: folder)
      } else {
        let stage: Stage
        if let started = stages[server] {
          stage = started
        } else {
          stage = try await Stage(.single, on: server, in: folder.appending(path: server.rawValue))
          stages[server] = stage
        }
        let plan = Plan(seed: seed, round: number, span: span, means: stage.deployment.means)
        total.add(try await play(number, plan, on: stage, nonce), on: server)
      }
    }
    for stage in stages.values { try await end(stage, after: rounds.upperBound - 1) }
    say(total.description)
  }

  private func play(_ number: Int, _ plan: Plan, on stage: Stage, _ nonce: String) async throws(Failure) -> RoundResult
  {
    let round = Round(
      number: number, seed: seed, plan: plan, deployment: stage.deployment, keys: stage.keys, ledger: stage.ledger,
      sink: stage.sink, timeline: Timeline(), nonce: nonce, bound: bound)
    do {
      let result = try await round.run(span: span)
      say(result.line(number: number, on: stage.server))
      if showsTimelines { say(round.timeline.text) }
      return result
    } catch {
      // Record what was seen so far, whatever ended the round.
      let seen = stage.ledger.violations
      stage.deployment.keepRedisFiles()
      throw Failure(
        round: number,
        reason: "\(error)" + (seen.isEmpty ? "" : "\nand before that:\n" + seen.joined(separator: "\n")),
        text: "\nround \(number): \(plan.faults.map(\.description).joined(separator: ", "))\n\(round.timeline.text)\n"
          + stage.deployment.lastWords())
    }
  }

  private func end(_ stage: Stage, after round: Int) async throws(Failure) {
    do {
      try await stage.deployment.end()
    } catch {
      throw Failure(round: round, reason: "\(error)", text: stage.deployment.lastWords())
    }
  }
}

/// Processes with keys, and the ledger of what is done to them.
private struct Stage {
  let server: RedisBuild
  let deployment: Deployment
  let keys = KeyRing()
  let ledger: Ledger
  let sink: SinkReader

  init(_ shape: Deployment.Shape, on server: RedisBuild, in folder: URL) async throws {
    try FileManager.default.createDirectory(at: folder, withIntermediateDirectories: false)
    self.server = server
    deployment = try await Deployment.start(shape, on: server, in: folder)
    ledger = try Ledger(in: folder)
    sink = SinkReader(path: deployment.database)
    try await publish()
  }

  /// Publishes the initial keys.
  private func publish() async throws {
    var lines = ["key,account,state"]
    for number in 1...60 {
      let key = APIKey(secret: "sk_chaos_\(number)", account: "account-\(number % 12)")
      let state =
        switch number {
        case 1...40: "active"
        case 41...50: "suspended"
        default: "revoked"
        }
      lines.append("\(key.secret),\(key.account),\(state)")
      keys.set(key, state == "active" ? .active : .blocked(since: .now - .seconds(3_600)))
    }
    let list = deployment.folder.appending(path: "keys.csv")
    try Data((lines.joined(separator: "\n") + "\n").utf8).write(to: list)
    let publisher = try await deployment.run("key-publisher", ["import", list.path, "--seal"], within: .seconds(30))
    guard publisher.status == .exited(0) else { throw Trouble(description: publisher.outputs) }
  }
}

extension RoundResult {
  /// For the terminal.
  fileprivate func line(number: Int, on server: RedisBuild) -> String {
    func padded(_ value: Int, _ width: Int) -> String {
      let text = String(value)
      return String(repeating: " ", count: max(width - text.count, 0)) + text
    }
    let name = server.rawValue.padding(toLength: 9, withPad: " ", startingAt: 0)
    return "round \(padded(number, 3))  \(name)  \(took.seconds)  ack \(padded(tally.acknowledged, 4))  refused "
      + "\(padded(tally.refused, 3))  503 \(padded(tally.unavailable, 4))  unanswered \(padded(tally.unanswered, 3))  reaped "
      + "\(padded(reaped, 3))  converged \(convergence.seconds)  | "
      + faults.map(\.description).joined(separator: ", ")
  }
}

/// What all rounds came to.
private struct Total: CustomStringConvertible {
  private var rounds = 0
  private var tally = Tally()
  private var reaped = 0
  private var roundsWithReaping = 0
  private var keyChanges = 0
  private var slowest = Duration.zero
  private var kinds: [String: Int] = [:]
  private var servers: [RedisBuild: (rounds: Int, acknowledged: Int, slowest: Duration)] = [:]
  private let began = ContinuousClock.now

  mutating func add(_ result: RoundResult, on server: RedisBuild) {
    rounds += 1
    var its = servers[server] ?? (0, 0, .zero)
    its = (its.rounds + 1, its.acknowledged + result.tally.acknowledged, max(its.slowest, result.convergence))
    servers[server] = its
    tally = tally + result.tally
    reaped += result.reaped
    if result.reaped > 0 { roundsWithReaping += 1 }
    keyChanges += result.keyChanges
    slowest = max(slowest, result.convergence)
    for planned in result.faults { kinds[planned.fault.kind, default: 0] += 1 }
  }

  var description: String {
    let faults = kinds.sorted { ($1.value, $0.key) < ($0.value, $1.key) }.map { "\($0.value) × \($0.key)" }
    let byServer = servers.sorted { $0.key.rawValue < $1.key.rawValue }.map {
      "\($0.value.rounds) × \($0.key) (\($0.value.acknowledged) acknowledged, converged within \($0.value.slowest.seconds))"
    }
    return """

      \(rounds) rounds in \((ContinuousClock.now - began).seconds): all held.
        \(tally.acknowledged) payloads were acknowledged; each is stored, once, as it was sent
        \(tally.unknown) times 401 and \(tally.blocked) times 403, none for an active key; \(tally.unavailable) times 503; \
      \(tally.unanswered) requests without an answer
        \(reaped) payloads went through a claim of a dead worker, in \(roundsWithReaping) rounds
        \(keyChanges) keys were put or revoked meanwhile
        the slowest round converged in \(slowest.seconds) after the faults
        servers: \(byServer.joined(separator: ", "))
        faults: \(faults.joined(separator: ", "))
      """
  }
}
