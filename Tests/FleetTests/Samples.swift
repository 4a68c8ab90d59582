// A fleet without any problem. Each test changes the values that it is about.

import Fleet
@testable import KeyReplica

enum Sample {
  /// Redis's clock in all samples.
  static let now = 1_700_000_000.0

  static let mirror = ReplicaStatus(
    completeness: Completeness(state: .complete, verified: 1_024, total: 1_024), sealed: true, keys: 1_000_000,
    accounts: 10, epoch: "e1", version: 1_000_100, storeVersion: 1_000_100, age: .milliseconds(250),
    objection: nil, barrierReads: 7, barrierWaiting: 0)

  static func node(_ name: String = "node-1", _ change: (inout NodeReport) -> Void = { _ in }) -> NodeReport {
    var report = NodeReport(
      name: name, build: "v1", instance: "00000000000000aa", state: .ready, ready: true, reasons: [],
      mirror: mirror, answers: ["200": 1, "202": 12_345, "401": 5, "403": 2, "503": 3],
      outcomes: .init(taken: 12_346, refused: 7, limited: 2, notTaken: 3, invalid: 1),
      lastMinute: .init(taken: 60, notTaken: 1, reasons: ["queue_away": 1]), proven: 7, timedOut: 0,
      queue: .init(
        state: .connected, waiting: 0, inFlightBytes: 0, durability: "fsync before each answer", batches: 3,
        pushed: 12_346, shards: [shard]),
      startedAt: now - 8_040.5, reportedAt: now - 0.5, listen: "127.0.0.1:8080")
    change(&report)
    return report
  }

  static let spool = NodeReport.Spool(
    state: .open, entries: 3, bytes: 2_048, limitBytes: 1 << 30, oldestSeconds: 90, reason: nil)

  static let shard = NodeReport.Shard(
    shard: 0, redis: "redis://127.0.0.1:6379", admits: true, entries: 17, bytes: 34_000, memory: 1 << 20,
    memoryLimit: 0, drainPerSecond: 812.5, readSeconds: 0.5, durability: "fsync before each answer",
    deadBytes: 1_000, roomBytes: 1 << 20, refusedAccounts: 0)

  static func worker(_ name: String = "worker-1", _ change: (inout WorkerReport) -> Void = { _ in }) -> WorkerReport {
    var report = WorkerReport(
      name: name, build: "v1", instance: "00000000000000bb", state: .working, processed: 12_000, stored: 11_990,
      duplicates: 8, retried: 2, dead: 0, inHand: 64, perSecond: 812.4, sink: "sqlite:/var/lib/sluice/rows.db",
      lastError: nil, startedAt: now - 180, reportedAt: now - 1)
    change(&report)
    return report
  }

  static func member<Report: MemberReport>(
    _ report: Report, age: Double = 0.5, stopped: Bool = false, clash: Double? = nil
  ) -> Member<Report> {
    Member(
      report: report, seenAt: now - age, age: .milliseconds(Int64(age * 1_000)), stopped: stopped,
      clashAge: clash.map { .milliseconds(Int64($0 * 1_000)) })
  }

  static let store = StorePosition(epoch: "e1", version: 1_000_100, count: 1_000_000, digest: .empty, sealed: true)

  static let redis = RedisFacts(
    version: "7.0.15", role: "master", usedBytes: 1 << 30, limitBytes: 4 << 30, evictionPolicy: "noeviction",
    appendsToFile: true, savingFails: false)

  /// A queue of three shards, of which one is away.
  static let shards = [
    ShardFacts(
      shard: 0, place: "redis://h1:6379",
      queue: .known(QueueTotals(pending: 40, later: 1, claimed: 4, dead: 0, oldestSeconds: 9)), redis: .known(redis)),
    ShardFacts(shard: 1, place: "redis://h2:6379", queue: .unreadable("not connected to Redis")),
    ShardFacts(
      shard: 2, place: "redis://h3:6379",
      queue: .known(QueueTotals(pending: 700, later: 0, claimed: 1, dead: 2, oldestSeconds: 3)), redis: .known(redis)),
  ]

  static func facts(
    nodes: [Member<NodeReport>] = [member(node())], workers: [Member<WorkerReport>] = [member(worker(), age: 1)],
    unreadable: [UnreadableMember] = [], _ change: (inout FleetFacts) -> Void = { _ in }
  ) -> FleetFacts {
    var facts = FleetFacts(
      store: store, storeAfter: store,
      fleet: FleetReading(readAt: now, nodes: nodes, workers: workers, unreadable: unreadable),
      shards: [], redis: .known(redis))
    facts.onlyShard = .known(QueueTotals(pending: 17, later: 2, claimed: 64, dead: 0, oldestSeconds: 1.5))
    change(&facts)
    return facts
  }
}

extension FleetFacts {
  /// The figures of a queue that has one shard, in the Redis of the keys.
  var onlyShard: Fact<QueueTotals> {
    get { shards[0].queue }
    set { shards = [ShardFacts(shard: 0, place: "redis://h:6379", queue: newValue)] }
  }
}
