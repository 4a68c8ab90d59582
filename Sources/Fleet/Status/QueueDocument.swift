// The queue as one JSON document, for programs. The names are promised, like those of the fleet's document.

import IngestQueue
import KeyReplica

/// The output of `sync-status queue --json`. Times are Unix seconds by Redis's clock, but the times of receipt are by a
/// node's clock.
public struct QueueDocument: Sendable, Encodable {
  private enum Verdict: String, Encodable {
    case flowing
    case notWell = "not_well"
    case unknown
  }

  private let verdict: Verdict
  private let exitCode: Int32
  private let unknown: [String]
  private let wrong: [String]
  private let shards: [Shard]
  @OrNull private var workers: [Worker]?

  public init(_ facts: QueueFacts, _ verdict: QueueVerdict) {
    self.verdict = verdict.exitCode == 0 ? .flowing : verdict.exitCode == 1 ? .notWell : .unknown
    exitCode = verdict.exitCode
    unknown = verdict.unknown
    wrong = verdict.wrong
    shards = facts.shards.map(Shard.init)
    workers = facts.fleet.value.map { fleet in fleet.workers.filter { !$0.stopped }.map(Worker.init) }
  }

  /// An indented text with sorted keys and a line end.
  /// - Throws: `EncodingError` if a worker's report has a number that isn't finite.
  public func json() throws -> String { try promisedText(pretty: true) }
}

extension QueueDocument {
  private struct Worker: Encodable {
    var name: String
    var state: WorkerReport.State
    var perSecond: Double
    var inHand: Int
    @OrNull var reportedSecondsAgo: Double?

    init(_ worker: Member<WorkerReport>) {
      name = worker.report.name
      state = worker.report.state
      perSecond = worker.report.perSecond
      inHand = worker.report.inHand
      reportedSecondsAgo = worker.knownAge
    }
  }

  private struct Shard: Encodable {
    struct List: Encodable {
      var list: Int
      var waiting: Int64
      @OrNull var oldestReceivedAt: Double?
    }

    struct Claim: Encodable {
      var worker: String
      var slot: Int
      var payloads: Int64
      var leaseUntil: Double
      var claimedAt: Double
    }

    /// A worker that has looked for payloads in this shard.
    struct Visitor: Encodable {
      var name: String
      var seenAt: Double
    }

    struct Reason: Encodable {
      /// Null for the sum of all further reasons.
      @OrNull var reason: String?
      var count: Int
    }

    var shard: Int
    var redis: String
    /// Why the shard couldn't be read; then everything else is null.
    @OrNull var error: String?
    @OrNull var readAt: Double?
    @OrNull var waiting: Int64?
    @OrNull var oldestReceivedAt: Double?
    @OrNull var later: Int64?
    @OrNull var nextDueAt: Double?
    @OrNull var failing: Int64?
    @OrNull var dead: Int64?
    @OrNull var deadBytes: Int64?
    @OrNull var done: Int64?
    @OrNull var requeued: Int64?
    @OrNull var discarded: Int64?
    @OrNull var reasonsUncounted: Int64?
    @OrNull var lists: [List]?
    @OrNull var claims: [Claim]?
    @OrNull var workers: [Visitor]?
    @OrNull var reasons: [Reason]?

    init(_ reading: ShardReading) {
      shard = reading.shard
      redis = reading.place
      error = reading.survey.obstacle
      let survey = reading.survey.value
      let state = survey?.state
      readAt = state.map { seconds($0.readAt) }
      waiting = state?.pending
      oldestReceivedAt = survey?.oldestReceivedAt.map(seconds)
      later = state?.later
      nextDueAt = survey?.nextDueAt.map(seconds)
      failing = state?.failing
      dead = state?.dead
      deadBytes = survey?.deadBytes.all
      done = state?.done
      requeued = survey?.requeued
      discarded = survey?.discarded
      reasonsUncounted = survey.map { max($0.state.dead - Int64($0.reasons.total), 0) }
      lists = survey?.lists.map {
        List(list: $0.number, waiting: $0.envelopes, oldestReceivedAt: $0.oldestReceivedAt.map(seconds))
      }
      claims = state?.claims.map {
        Claim(
          worker: $0.worker, slot: $0.slot, payloads: $0.envelopes, leaseUntil: seconds($0.leaseUntil),
          claimedAt: seconds($0.claimedAt))
      }
      workers = state?.workers.map { Visitor(name: $0.name, seenAt: seconds($0.seenAt)) }
      reasons = survey.map { survey in
        let others = survey.reasons.others
        return survey.reasons.sorted.map { Reason(reason: $0.reason, count: $0.count) }
          + (others > 0 ? [Reason(reason: nil, count: others)] : [])
      }
    }
  }

}

private func seconds(_ milliseconds: Int64) -> Double { Double(milliseconds) / 1_000 }
