// The problems of the queue: a pure function of the facts. In the fleet's verdict a dead letter is a note. Here it is
// wrong, because operators who ask for the queue want to know whether payloads get through.

import IngestQueue
import KeyReplica

/// Whether payloads get through, and the problems, the most important first.
public struct QueueVerdict: Sendable, Equatable {
  /// A payload that waits longer than this is reported.
  public static let slowAfter = Duration.seconds(60)
  /// A shard with payloads is reported if no worker has looked there for this time. Idle workers look every 5 s.
  public static let unservedAfter = Duration.seconds(15)
  /// A claim is reported if its lease ended this long ago: workers look for ended leases every few seconds.
  public static let reapedAfter = Duration.seconds(30)

  /// The facts that are unknown.
  public var unknown: [String]
  /// The problems.
  public var wrong: [String]

  /// 0 if nothing is wrong, 1 if something is, 2 if some facts couldn't be read.
  public var exitCode: Int32 { !unknown.isEmpty ? 2 : wrong.isEmpty ? 0 : 1 }

  public init(_ facts: QueueFacts) {
    unknown = facts.shards.compactMap { reading in
      guard case .unreadable(let why) = reading.survey else { return nil }
      return "shard \(reading.shard) in \(reading.place) can't be read: \(why)"
    }
    // First, because these problems keep payloads out.
    wrong = DeadLetterVerdict.wrong(
      facts.fleet.value?.nodes ?? [],
      facts.surveys.reduce(into: [:]) { $0[$1.shard] = $1.survey.deadBytes })
    var works = true
    switch facts.fleet {
    case .unreadable(let why): unknown.append("the workers' reports can't be read: \(why)")
    case .known(let fleet):
      works = fleet.workers.contains { $0.isLive }
      wrong += Self.workers(fleet, facts, works)
    }
    for (shard, survey) in facts.surveys {
      // If no worker is running at all, that was reported already.
      if works { wrong += Self.unserved(shard, survey) }
      wrong += Self.shard(shard, survey, nodesTime: facts.nodesTime(of: survey))
    }
    let dead = facts.surveys.reduce(0) { $0 + $1.survey.state.dead }
    if dead > 0 { wrong.append("\(Wording.number(dead, "dead letter")): see sync-status dead") }
  }

  private static func workers(_ fleet: FleetReading, _ facts: QueueFacts, _ works: Bool) -> [String] {
    var wrong: [String] = []
    let waiting = facts.surveys.reduce(0) { $0 + $1.survey.state.pending + $1.survey.state.later }
    if !works, waiting > 0 {
      wrong.append(
        "no worker is running, and \(Wording.number(waiting, "payload")) \(waiting == 1 ? "waits" : "wait")")
    }
    for worker in fleet.workers where !worker.stopped {
      if worker.isSilent {
        wrong.append("\(worker.report.name) \(worker.silence)")
      } else if worker.report.state == .trouble {
        wrong.append("\(worker.report.name) has a problem: \(worker.report.lastError ?? "unknown, see its log")")
      }
    }
    return wrong
  }

  private static func unserved(_ shard: Int, _ survey: QueueSurvey) -> [String] {
    guard survey.state.pending > 0 else { return [] }
    // A worker last seen before Redis's clock went back doesn't count.
    let seenAt = survey.state.workers.map(\.seenAt).filter { $0 <= survey.state.readAt + 1_000 }.max()
    let age = seenAt.map { survey.state.readAt - $0 }
    if let age, age <= unservedAfter.inMilliseconds { return [] }
    return [
      "no worker claims from shard \(shard)"
        + (age.map { ", the last one did \(Wording.ago(seconds: Double($0) / 1_000))" } ?? "")
        + ": do all workers have the same --queue and --queue-shards as the nodes?"
    ]
  }

  private static func shard(_ shard: Int, _ survey: QueueSurvey, nodesTime: Int64) -> [String] {
    var wrong: [String] = []
    let now = survey.state.readAt
    if let oldest = survey.oldestReceivedAt, nodesTime - oldest > slowAfter.inMilliseconds {
      wrong.append(
        "the oldest payload in shard \(shard) was received \(Wording.ago(seconds: Double(nodesTime - oldest) / 1_000)): "
          + "start or speed up workers, unless it was requeued")
    }
    let abandoned = survey.state.claims.filter { now - $0.leaseUntil > reapedAfter.inMilliseconds }
    if !abandoned.isEmpty {
      let envelopes = abandoned.reduce(0) { $0 + $1.envelopes }
      wrong.append(
        "\(Wording.number(envelopes, "payload")) in shard \(shard) "
          + "\(envelopes == 1 ? "belongs" : "belong") to workers that ended, and no worker requeues "
          + "\(envelopes == 1 ? "it" : "them"): start a worker for this shard")
    }
    return wrong
  }
}

extension Duration {
  fileprivate var inMilliseconds: Int64 { Int64(fractionalSeconds * 1_000) }
}
