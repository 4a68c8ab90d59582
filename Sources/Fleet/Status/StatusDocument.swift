// The fleet as one JSON document, for programs. It contains the reports as the members wrote them. The names are
// promised: see `PromisedJSON` and the schema in the documentation catalogue.

import IngestQueue
import KeyReplica

/// The output of `sync-status --json` if the fleet could be read.
public struct StatusDocument: Sendable, Encodable {
  private enum Verdict: String, Encodable {
    case inSync = "in_sync"
    case inSyncNotWell = "in_sync_not_well"
    case notInSync = "not_in_sync"
  }

  private let verdict: Verdict
  private let exitCode: Int
  /// Always null: see ``UnknownStatusDocument``.
  @OrNull private var error: String?
  private let readAt: Double
  private let nodesInSync: Int
  private let nodesExpected: Int
  private let problems: [Problem]
  @OrNull private var store: Store?
  private let nodes: [Node]
  private let workers: [Worker]
  private let unreadable: [Unreadable]
  private let register: Register
  @OrNull private var queue: Queue?
  private let queueShards: [Shard]
  @OrNull private var redis: Redis?

  public init(_ facts: FleetFacts, _ verdict: FleetVerdict) {
    self.verdict = !verdict.isInSync ? .notInSync : verdict.isWell ? .inSync : .inSyncNotWell
    exitCode = verdict.isWell ? 0 : 1
    error = nil
    readAt = facts.fleet.readAt
    nodesInSync = verdict.nodesInSync
    nodesExpected = verdict.nodesExpected
    problems = verdict.problems.map { Problem(severity: $0.severity, member: $0.member, text: $0.text) }
    store = facts.store.map {
      Store(
        id: $0.store.id, name: $0.store.name, epoch: $0.epoch, version: $0.version, keys: $0.count,
        digest: "\($0.digest)", sealed: $0.sealed, confirmedUnknown: $0.confirmedUnknown,
        source: Source($0.source))
    }
    nodes = zip(facts.fleet.nodes, verdict.nodes).map { node, judgement in
      Node(node, judgement, isSealed: facts.store?.sealed == true)
    }
    workers = facts.fleet.workers.map(Worker.init)
    unreadable = facts.fleet.unreadable.map { Unreadable(kind: $0.kind, name: $0.name, reason: $0.reason) }
    register = Register(
      limit: facts.fleet.limit, full: facts.fleet.isFull,
      turnedAway: facts.fleet.turnedAway.map { Register.Member(kind: $0.kind, name: $0.name) })
    queue = facts.queue.map { Queue($0, shardsAway: facts.shards.count { $0.queue.value == nil }) }
    queueShards = facts.shards.map(Shard.init)
    redis = facts.redis.value.map(Redis.init)
  }

  /// One line of JSON, or an indented text, with sorted keys and a line end.
  /// - Throws: `EncodingError` if a member's report has a number that isn't finite.
  public func json(pretty: Bool) throws -> String { try promisedText(pretty: pretty) }
}

/// The output of `sync-status --json` if the fleet's state is unknown. It has no value that could be mistaken for a
/// figure.
public struct UnknownStatusDocument: Sendable, Encodable {
  private let verdict = "unknown"
  private let exitCode = 2
  private let error: String

  /// - Parameter reason: Why the state is unknown.
  public init(reason: String) { error = reason }

  /// As ``StatusDocument/json(pretty:)``.
  public func json(pretty: Bool) throws -> String { try promisedText(pretty: pretty) }
}

extension StatusDocument {
  private struct Problem: Encodable {
    var severity: FleetProblem.Severity
    @OrNull var member: String?
    var text: String
  }

  private struct Store: Encodable {
    var id: String
    @OrNull var name: String?
    var epoch: String
    var version: UInt64
    var keys: Int
    var digest: String
    var sealed: Bool
    var confirmedUnknown: Int
    var source: Source
  }

  private struct Source: Encodable {
    @OrNull var markedAt: Double?
    @OrNull var ageSeconds: Double?
    @OrNull var maxAgeSeconds: Double?
    var withinBound: Bool

    init(_ mark: SourceMark) {
      markedAt = mark.moment.map { Double($0) / 1e6 }
      ageSeconds = mark.age?.fractionalSeconds
      maxAgeSeconds = mark.maxAge?.fractionalSeconds
      withinBound = mark.isWithinBound
    }
  }

  private struct Node: Encodable {
    var inSync: Bool
    var lacks: [String]
    @OrNull var ageSeconds: Double?
    var seenAt: Double
    var stopped: Bool
    var live: Bool
    var report: NodeReport

    init(_ node: Member<NodeReport>, _ judgement: NodeJudgement, isSealed: Bool) {
      inSync = !node.stopped && judgement.lacks.isEmpty && isSealed
      lacks = judgement.lacks.map(\.words)
      ageSeconds = node.knownAge
      seenAt = node.seenAt
      stopped = node.stopped
      live = node.isLive
      report = node.report
    }
  }

  private struct Worker: Encodable {
    @OrNull var ageSeconds: Double?
    var seenAt: Double
    var stopped: Bool
    var live: Bool
    var report: WorkerReport

    init(_ worker: Member<WorkerReport>) {
      ageSeconds = worker.knownAge
      seenAt = worker.seenAt
      stopped = worker.stopped
      live = worker.isLive
      report = worker.report
    }
  }

  private struct Unreadable: Encodable {
    @OrNull var kind: MemberKind?
    var name: String
    var reason: String
  }

  private struct Register: Encodable {
    struct Member: Encodable {
      var kind: MemberKind
      var name: String
    }

    var limit: Int
    var full: Bool
    var turnedAway: [Member]
  }

  private struct Queue: Encodable {
    var pending: Int64
    var later: Int64
    var claimed: Int64
    var dead: Int64
    var deadBytes: Int64
    @OrNull var oldestSeconds: Double?
    var shardsAway: Int

    init(_ queue: QueueTotals, shardsAway: Int) {
      pending = queue.pending
      later = queue.later
      claimed = queue.claimed
      dead = queue.dead
      deadBytes = queue.deadBytes.all
      oldestSeconds = queue.oldestSeconds
      self.shardsAway = shardsAway
    }
  }

  private struct Shard: Encodable {
    var shard: Int
    var redis: String
    /// Why the shard couldn't be read; then its figures are null.
    @OrNull var error: String?
    @OrNull var pending: Int64?
    @OrNull var later: Int64?
    @OrNull var claimed: Int64?
    @OrNull var dead: Int64?
    @OrNull var deadBytes: Int64?
    @OrNull var oldestSeconds: Double?

    init(_ facts: ShardFacts) {
      shard = facts.shard
      redis = facts.place
      error = facts.queue.obstacle
      let queue = facts.queue.value
      pending = queue?.pending
      later = queue?.later
      claimed = queue?.claimed
      dead = queue?.dead
      deadBytes = queue?.deadBytes.all
      oldestSeconds = queue?.oldestSeconds
    }
  }

  private struct Redis: Encodable {
    var program: String
    var version: String
    var role: String
    var usedBytes: UInt64
    var limitBytes: UInt64
    var evictionPolicy: String
    var appendOnlyFile: Bool
    var savingFails: Bool
    @OrNull var server: String?

    init(_ facts: RedisFacts) {
      program = facts.program
      version = facts.version
      role = facts.role
      usedBytes = facts.usedBytes
      limitBytes = facts.limitBytes
      evictionPolicy = facts.evictionPolicy
      appendOnlyFile = facts.appendsToFile
      savingFails = facts.savingFails
      server = facts.server
    }
  }
}
