// All rounds of a run on one deployment, and their sum.

import Foundation
import RedisFixture

/// Rounds, one after the other.
struct Run {
  let seed: UInt64
  let folder: URL
  let span: Duration
  let bound: Duration

  /// A round that failed, with what is to be known of it.
  struct Failure: Error {
    let round: Int
    let reason: String
    /// The faults, the timeline and the logs.
    let text: String
  }

  func run(_ rounds: Range<Int>) async throws {
    let deployment = try await Deployment.start(in: folder)
    let keys = KeyRing()
    try await publish(keys, on: deployment)
    let ledger = try Ledger(in: folder)
    let sink = SinkReader(path: deployment.database)
    let nonce = String(UInt64.random(in: 0...UInt64.max), radix: 36)
    var total = Total()
    for number in rounds {
      let plan = Plan(seed: seed, round: number, span: span, means: deployment.means)
      let round = Round(
        number: number, seed: seed, plan: plan, deployment: deployment, keys: keys, ledger: ledger, sink: sink,
        timeline: Timeline(), nonce: nonce, bound: bound)
      do {
        let result = try await round.run(span: span)
        total.add(result)
        say(result.line(number: number))
      } catch {
        // What was seen before is part of the story, whatever ended the round.
        let seen = ledger.violations.isEmpty ? "" : "\nand before that:\n" + ledger.violations.joined(separator: "\n")
        let text =
          "\nround \(number): \(plan.faults.map(\.description).joined(separator: ", "))\n\(round.timeline.text)\n"
          + deployment.lastWords()
        deployment.keepRedisFiles()
        throw Failure(round: number, reason: "\(error)\(seen)", text: text)
      }
    }
    for member in deployment.members {
      do {
        try await member.end(within: .seconds(15))
      } catch {
        throw Failure(round: rounds.upperBound - 1, reason: "\(error)", text: deployment.lastWords())
      }
    }
    say(total.description)
  }

  /// The keys that there are from the beginning.
  private func publish(_ keys: KeyRing, on deployment: Deployment) async throws {
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
    let list = folder.appending(path: "keys.csv")
    try Data((lines.joined(separator: "\n") + "\n").utf8).write(to: list)
    let publisher = try await deployment.run("key-publisher", ["import", list.path, "--seal"], within: .seconds(30))
    guard publisher.status == .exited(0) else { throw Trouble(description: publisher.outputs) }
  }
}

extension RoundResult {
  /// For the terminal.
  fileprivate func line(number: Int) -> String {
    func padded(_ value: Int, _ width: Int) -> String {
      let text = String(value)
      return String(repeating: " ", count: max(width - text.count, 0)) + text
    }
    return "round \(padded(number, 3))  \(took.seconds)  ack \(padded(tally.acknowledged, 4))  refused "
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
  private let began = ContinuousClock.now

  mutating func add(_ result: RoundResult) {
    rounds += 1
    tally = tally + result.tally
    reaped += result.reaped
    if result.reaped > 0 { roundsWithReaping += 1 }
    keyChanges += result.keyChanges
    slowest = max(slowest, result.convergence)
    for planned in result.faults { kinds[planned.fault.kind, default: 0] += 1 }
  }

  var description: String {
    let faults = kinds.sorted { ($1.value, $0.key) < ($0.value, $1.key) }.map { "\($0.value) × \($0.key)" }
    return """

      \(rounds) rounds in \((ContinuousClock.now - began).seconds): all held.
        \(tally.acknowledged) payloads were acknowledged; each is stored, once, as it was sent
        \(tally.unknown) times 401 and \(tally.blocked) times 403, none for an active key; \(tally.unavailable) times 503; \
      \(tally.unanswered) requests without an answer
        \(reaped) payloads went through a claim of a dead worker, in \(roundsWithReaping) rounds
        \(keyChanges) keys were put or revoked meanwhile
        the slowest round converged in \(slowest.seconds) after the faults
        faults: \(faults.joined(separator: ", "))
      """
  }
}
