// The verdict: a pure function of the facts. It does no I/O and reads no clock, so every sentence that it can produce
// has a test.
//
// A node is in sync when all of this holds:
//   - its last report is at most 5 s old by Redis's clock, and no other process reports under its name;
//   - its mirror is complete: every bucket and the total were verified against the store's digests;
//   - the store at its address is the mirrored store, or one that has adopted it;
//   - it mirrors the store's present history (epoch), the store is sealed, and the node knows that;
//   - when it reported, its last answered read of the store was at most 5 s old;
//   - it has followed every change up to the store's version as read before the reports. A report is up to a second
//     old, so a store with frequent writes is always ahead of the reports. Therefore a node may lag if it was at the
//     store's version as the *node* had last read it. Together with the two limits above: the node was level with the
//     store 10 s ago or later;
//   - the store can account for the node's version and its number of keys.
//
// Nodes and the store decide whether the fleet is in sync. So does a Redis that may evict any key, because a fleet that
// is in sync now needn't be in sync a moment later. Faults that keep payloads out are wrong as well, but no reason to
// keep a machine out of a load balancer: a queue that nothing is pushed to, a node that accepted none of a minute's
// pushes, accounts with too many dead letters. So is a source mark that permits no refusals. Everything else about
// workers, the queue and Redis's settings is a note.

import IngestQueue
import KeyReplica

/// A problem or a note for operators, as text.
public struct FleetProblem: Sendable, Equatable {
  public enum Severity: String, Sendable, Codable {
    /// The problem keeps the fleet from being in sync.
    case outOfSync = "out_of_sync"
    /// An operator must act, but the fleet may be in sync: payloads are kept out, the store lost keys, keys that should
    /// be refused aren't, or a member can't report.
    case wrong
    /// The fleet may be in sync nevertheless.
    case note
  }

  public var severity: Severity
  /// The member concerned; nil if it concerns the store, the queue or Redis.
  public var member: String?
  public var text: String

  public init(_ severity: Severity, member: String? = nil, _ text: String) {
    self.severity = severity
    self.member = member
    self.text = text
  }
}

/// The reasons why a node isn't in sync; none if it is.
public struct NodeJudgement: Sendable, Equatable {
  public var name: String
  /// Whether the node ended in good order. Then it is no part of the fleet, and neither in sync nor out of sync.
  public var stopped: Bool
  /// Without the store's own problems, which keep every node from being in sync.
  public var lacks: [SyncBlocker]

  public init(name: String, stopped: Bool, lacks: [SyncBlocker]) {
    self.name = name
    self.stopped = stopped
    self.lacks = lacks
  }
}

/// Whether the fleet is in sync, and all problems and notes, the worst first.
public struct FleetVerdict: Sendable, Equatable {
  /// Maximum age of a live member's last report. A member with an older one counts as silent.
  public static let silentAfter = Duration.seconds(5)
  /// Maximum age of the last answered read of the store when a node reports, for the node to be in sync.
  public static let staleAfter = Duration.seconds(5)
  /// A larger difference between a member's clock and Redis's is noted.
  public static let clockTolerance = Duration.seconds(5)

  public var problems: [FleetProblem]
  public var nodes: [NodeJudgement]
  /// Nodes that are in sync.
  public var nodesInSync: Int
  /// Nodes that should be in sync: all except those that ended in good order.
  public var nodesExpected: Int

  public var isInSync: Bool { !problems.contains { $0.severity == .outOfSync } }

  /// Whether there are only notes.
  public var isWell: Bool { problems.allSatisfy { $0.severity == .note } }

  public init(_ facts: FleetFacts) {
    let storeProblems = Self.storeProblems(facts)
    nodes = facts.fleet.nodes.map { node in
      NodeJudgement(name: node.report.name, stopped: node.stopped, lacks: node.stopped ? [] : Self.lacks(node, facts))
    }
    let unseen =
      facts.fleet.unreadable.count { $0.kind == .node } + facts.fleet.turnedAway.count { $0.kind == .node }
    let running = nodes.filter { !$0.stopped }
    nodesExpected = running.count + unseen
    nodesInSync = storeProblems.isEmpty ? running.count { $0.lacks.isEmpty } : 0

    problems = storeProblems + Self.evictionProblems(facts) + Self.reportedEvictionProblems(facts)
    if nodesExpected == 0 {
      let words =
        nodes.isEmpty
        ? "no node has reported"
        : "no node is running: \(Wording.number(nodes.count, "node")) ended"
      problems.append(FleetProblem(.outOfSync, words))
    }
    for node in nodes {
      problems += node.lacks.map { FleetProblem(.outOfSync, member: node.name, "\(node.name) \($0.words)") }
    }
    for member in facts.fleet.unreadable {
      let what = member.kind.map { "the report of the \($0.rawValue) \(member.name)" } ?? "the member \(member.name)"
      problems.append(
        FleetProblem(
          member.kind == .node ? .outOfSync : .note, member: member.name,
          "\(what) can't be read (another Sluice version?): \(member.reason)"))
    }
    problems += facts.fleet.turnedAway.filter { $0.kind == .node }.map {
      FleetProblem(.outOfSync, member: $0.name, facts.fleet.notRegistered($0))
    }
    let rest =
      Self.registerProblems(facts.fleet) + Self.failures(facts.fleet.nodes) + Self.failures(facts.fleet.workers)
      + DeadLetterVerdict.wrong(facts.fleet.nodes, facts.deadBytes).map { FleetProblem(.wrong, $0) }
      + RefusalStorm.problems(facts.fleet.nodes) + Self.untaken(facts) + Self.notes(facts, running)
    problems += LossVerdict.wrong(facts.fleet.nodes)
    problems += SourceVerdict.problems(facts.store, facts.fleet.nodes)
    problems += SourceVerdict.lostMaxAge(facts.storeAfter ?? facts.store, facts.fleet.nodes)
    problems += rest.filter { $0.severity == .wrong } + rest.filter { $0.severity != .wrong }
  }

  // MARK: The store

  private static func storeProblems(_ facts: FleetFacts) -> [FleetProblem] {
    guard let store = facts.store else {
      return [
        FleetProblem(.outOfSync, "there is no key store in this Redis and namespace: run key-publisher import")
      ]
    }
    guard store.sealed else {
      return [
        FleetProblem(
          .outOfSync,
          "the store isn't sealed: keys that aren't active are answered 503, and \(unready(facts)). If it has all keys: "
            + "key-publisher seal")
      ]
    }
    return []
  }

  /// Which nodes an unsealed store keeps out of the load balancer: only those that haven't been ready since their
  /// start.
  private static func unready(_ facts: FleetFacts) -> String {
    let names = facts.fleet.nodes.filter { $0.isLive && !$0.report.ready && $0.report.state != .draining }
      .map(\.report.name)
    guard !names.isEmpty else { return "nodes that start now don't get ready" }
    let are = names.count == 1 ? "isn't" : "aren't"
    let subject = Wording.list(names, atMost: 3)
    return "\(subject) \(are) ready (/readyz answers 503). Nodes that were ready before stay ready"
  }

  // MARK: The nodes

  private static func lacks(_ node: Member<NodeReport>, _ facts: FleetFacts) -> [SyncBlocker] {
    let report = node.report
    // A silent node's last report says nothing about its present state.
    if node.isUndated { return [.undated] }
    if node.isSilent { return [.silent(seconds: node.age.wholeSeconds)] }
    var lacks: [SyncBlocker] = []
    if let clash = node.clashAge, clash <= silentAfter { lacks.append(.sharesItsName) }

    if let wrong = report.wrongStore { return lacks + [.wrongStore(wrong)] }
    let verified = report.completeness.verified
    let total = report.completeness.total
    switch report.completeness.state {
    case .complete: break
    // An incomplete mirror may lack more, but all of that follows from its incompleteness.
    case .empty: return lacks + [.empty]
    case .loading: return lacks + [verified < total ? .loading(verified: verified, total: total) : .catchingUp]
    case .restored: return lacks + [.restored(verified: verified, total: total)]
    case .guarded: return lacks + [.guarded]
    case .diverged: return lacks + [.diverged(verified: verified, total: total)]
    case .incompatible: return lacks + [.incompatible]
    }

    guard let store = facts.store else { return lacks }
    guard report.epoch == store.epoch else {
      return lacks + [.otherEpoch(report.epoch ?? "unknown", store: store.epoch)]
    }
    if store.sealed, report.sealed != true {
      lacks.append(.missesTheSeal)
    } else if store.sealed, let why = report.refusalsBlocked, !SourceVerdict.blocks(report) {
      lacks.append(.cannotRefuse(why))
    }
    if let freshness = report.freshnessSeconds {
      if freshness > staleAfter.fractionalSeconds { lacks.append(.stale(seconds: Int(freshness.rounded(.down)))) }
    } else {
      lacks.append(.neverHeard)
    }
    let levelWhenReported = report.storeVersion.map { report.version >= $0 } ?? false
    if report.version < store.version, !levelWhenReported {
      lacks.append(.behind(version: report.version, store: store.version))
    }
    if let after = facts.storeAfter, after.epoch == store.epoch {
      if report.version > after.version { lacks.append(.ahead(version: report.version, store: after.version)) }
      // The two numbers are comparable only if the store didn't change and the node is at its version.
      if report.version == store.version, store.version == after.version, report.keys != store.count {
        lacks.append(.otherCount(keys: report.keys, store: store.count))
      }
    }
    return lacks
  }

  // MARK: The register

  /// The workers that the full register turned away; or, if it turned nobody away, that the register is full. Nodes
  /// that were turned away are reported in `init`, because they keep the fleet from being in sync.
  private static func registerProblems(_ fleet: FleetReading) -> [FleetProblem] {
    let workers = fleet.turnedAway.filter { $0.kind == .worker }
    guard fleet.turnedAway.isEmpty else {
      return workers.map { FleetProblem(.wrong, member: $0.name, fleet.notRegistered($0)) }
    }
    guard fleet.isFull else { return [] }
    return [
      FleetProblem(.wrong, "the fleet's register is full, so further nodes and workers aren't shown: \(fleet.advice)")
    ]
  }

  // MARK: Ends

  /// Members that an error ended. Nobody restarts a member that seems to have been stopped on purpose.
  private static func failures<Report: MemberReport>(_ members: [Member<Report>]) -> [FleetProblem] {
    members.compactMap { member in
      guard let failure = member.failure else { return nil }
      let name = member.report.name
      return FleetProblem(
        .wrong, member: name,
        "\(name) ended by an error \(member.reported): \(failure). Start it again, or take it off the list: "
          + "sync-status forget \(Report.kind.rawValue) \(name)")
    }
  }

  // MARK: Notes

  private static func notes(_ facts: FleetFacts, _ running: [NodeJudgement]) -> [FleetProblem] {
    var notes: [FleetProblem] = []
    func note(_ text: String, member: String? = nil) { notes.append(FleetProblem(.note, member: member, text)) }

    let isJudged = facts.store?.sealed == true
    let inSync = Set(running.filter(\.lacks.isEmpty).map(\.name))
    for node in facts.fleet.nodes where node.isLive {
      let report = node.report
      // If a node isn't in sync, the reason was given already.
      if inSync.contains(report.name), isJudged, !report.ready, report.state != .draining {
        let reasons = report.reasons.isEmpty ? "it doesn't say why" : report.reasons.joined(separator: "; ")
        note("\(report.name) isn't ready: \(reasons)", member: report.name)
      }
      if report.violations > 0 {
        note(
          "\(report.name) saw \(Wording.number(report.violations, "active key")) vanish from the store without a revoke "
            + "since its start: run key-publisher verify, and import the list again", member: report.name)
      }
      if report.state == .draining { note("\(report.name) is draining", member: report.name) }
      if report.queue.state == .away {
        let spools = report.spool?.state == .open
        notes.append(
          FleetProblem(
            spools ? .note : .wrong, member: report.name,
            "\(report.name) can't reach the queue: \(spools ? "payloads go to its spool" : "it answers 503")"))
      }
      if let spool = report.spool { notes += spoolNotes(spool, of: report.name) }
    }
    if let store = facts.store, store.sealed, store.count == 0 {
      note("the store is sealed with no keys in it: every key is refused")
    }

    for worker in facts.fleet.workers where !worker.stopped {
      let report = worker.report
      if worker.isSilent {
        note("\(report.name) \(worker.silence)", member: report.name)
        continue
      }
      if let clash = worker.clashAge, clash <= silentAfter {
        note(
          "\(report.name) shares its name with another live process: give each worker a name of its own",
          member: report.name)
      }
      if report.state == .trouble {
        note("\(report.name) has a problem: \(report.lastError ?? "unknown, see its log")", member: report.name)
      }
    }
    notes += shardNotes(facts)
    notes += queueNotes(facts)
    notes += skewNotes(facts)
    for (name, redis) in servers(facts) {
      notes += redisNotes(redis, of: name, reported: name == "Redis" ? facts.reportedPolicies : [])
    }
    return notes
  }

  /// The Redis servers with their names in messages: that of the keys, and those of the queue if they are others.
  private static func servers(_ facts: FleetFacts) -> [(name: String, redis: Fact<RedisFacts>)] {
    var servers = [("Redis", facts.redis)]
    // Several shards may be in one Redis.
    var known: Set<String> = []
    for shard in facts.shards {
      if let redis = shard.redis, known.insert(shard.place).inserted {
        servers.append(("the queue's Redis \(shard.place)", redis))
      }
    }
    return servers
  }

  /// Redis servers that evict keys of any kind when their memory is full. A server without a memory limit counts too:
  /// somebody may set one later.
  private static func evictionProblems(_ facts: FleetFacts) -> [FleetProblem] {
    servers(facts).compactMap { name, redis in
      guard let policy = redis.value?.evictionPolicy, Durability.evictsAnyKey(policy) else { return nil }
      return FleetProblem(
        .outOfSync,
        "\(name) evicts keys (maxmemory-policy \(policy)): payloads and API keys are lost when its memory is full; "
          + "set noeviction")
    }
  }

  /// The same for Redis servers that can't be read from here, by the shard reports of live nodes.
  private static func reportedEvictionProblems(_ facts: FleetFacts) -> [FleetProblem] {
    var problems: [FleetProblem] = []
    var known = Set<Int>()
    for node in facts.fleet.nodes where node.isLive {
      for shard in node.report.queue.shards where facts.reads(shard) == nil {
        guard let policy = shard.evictionPolicy, Durability.evictsAnyKey(policy), known.insert(shard.shard).inserted
        else { continue }
        let name = node.report.queue.shards.count == 1 ? "Redis" : "the Redis of shard \(shard.shard) of the queue"
        problems.append(
          FleetProblem(
            .outOfSync,
            "\(name) evicts keys, as \(node.report.name) reports (maxmemory-policy \(policy)): payloads and API keys are "
              + "lost when its memory is full; set noeviction"))
      }
    }
    return problems
  }

  /// Nodes that accepted none of the last minute's pushes. Pushes that failed by the client's own fault don't count.
  private static func untaken(_ facts: FleetFacts) -> [FleetProblem] {
    facts.fleet.nodes.filter { $0.isLive }.compactMap { node in
      let minute = node.report.lastMinute
      guard minute.taken == 0, minute.notTaken > 0 else { return nil }
      let reasons = minute.reasons.sorted { ($1.value, $0.key) < ($0.value, $1.key) }
        .map { "\(Wording.count($0.value)) \($0.key)" }
      return FleetProblem(
        .wrong, member: node.report.name,
        "\(node.report.name) accepted none of \(Wording.number(minute.notTaken, "push", "pushes")) "
          + "in the last minute: " + Wording.list(reasons, atMost: 3))
    }
  }

  /// Why nodes don't push to a shard that they can read. Each reason is given once, whichever nodes report it. It is
  /// wrong if a node has no other shard, so that the node accepts nothing.
  private static func shardNotes(_ facts: FleetFacts) -> [FleetProblem] {
    var notes: [FleetProblem] = []
    let live = facts.fleet.nodes.filter { $0.isLive }
    func isShut(_ shard: NodeReport.Shard) -> Bool { shard.overLimit != nil || shard.durabilityLack != nil }
    let takesNothing = live.contains { node in
      !node.report.queue.shards.isEmpty && node.report.queue.shards.allSatisfy(isShut)
    }
    for node in live {
      for shard in node.report.queue.shards {
        let name = "shard \(shard.shard) of the queue"
        let texts = [
          shard.overLimit.map {
            "\(name) is over its limit of \($0) (--max-queue-\($0)): it gets no pushes until it is below --queue-low-water. "
              + "Start workers, or raise \($0 == "memory" ? "Redis's maxmemory" : "the limit")"
          },
          shard.durabilityLack.map { "\(name) gets no pushes: \($0)" },
        ]
        for text in texts.compactMap({ $0 }) where !notes.contains(where: { $0.text == text }) {
          notes.append(FleetProblem(takesNothing ? .wrong : .note, text))
        }
      }
    }
    return notes
  }

  private static func spoolNotes(_ spool: NodeReport.Spool, of name: String) -> [FleetProblem] {
    var notes: [FleetProblem] = []
    if spool.entries > 0 {
      let room = "\(Wording.bytes(UInt64(spool.bytes))) of \(Wording.bytes(UInt64(spool.limitBytes)))"
      let age = spool.oldestSeconds.map { ", the oldest for \(Wording.time(seconds: $0))" } ?? ""
      notes.append(
        FleetProblem(
          .note, member: name,
          "\(name) has \(Wording.number(spool.entries, "payload")) in its spool, on its own disk (\(room)\(age))"))
    }
    if let count = spool.setAside, count > 0 {
      let bytes = Wording.bytes(UInt64(spool.setAsideBytes ?? 0))
      notes.append(
        FleetProblem(
          .wrong, member: name,
          "\(name) has set aside \(Wording.number(count, "payload")) in its spool, because Redis rejects them (\(bytes)): "
            + "stop the node and see `sync-status spool list FOLDER` on its machine"))
    }
    if spool.state == .closed {
      notes.append(
        FleetProblem(
          .note, member: name,
          "\(name)'s spool accepts no payloads, so pushes are answered 503 while Redis is unreachable: "
            + (spool.reason ?? "reason unknown, see its log")))
    }
    return notes
  }

  private static func queueNotes(_ facts: FleetFacts) -> [FleetProblem] {
    var notes: [FleetProblem] = []
    for shard in facts.shards {
      guard case .unreadable(let why) = shard.queue else { continue }
      let what = facts.shards.count == 1 ? "the queue" : "shard \(shard.shard) of the queue, in \(shard.place),"
      notes.append(FleetProblem(.note, "\(what) can't be read: \(why)"))
    }
    guard let queue = facts.queue else { return notes }
    let works = facts.fleet.workers.contains { $0.isLive }
    if !works, queue.pending > 0 {
      notes.append(
        FleetProblem(
          .note,
          "no worker is running, and \(Wording.number(queue.pending, "payload")) wait\(queue.pending == 1 ? "s" : "") in the queue"
        )
      )
    }
    if queue.dead > 0 {
      notes.append(
        FleetProblem(
          .note,
          queue.dead == 1 ? "1 payload is a dead letter" : "\(Wording.count(queue.dead)) payloads are dead letters"))
    }
    return notes
  }

  private static func skewNotes(_ facts: FleetFacts) -> [FleetProblem] {
    var notes: [FleetProblem] = []
    var namesByBuild: [String: [String]] = [:]
    func look<Report>(_ members: [Member<Report>]) {
      for member in members where member.isLive {
        namesByBuild[member.report.build, default: []].append(member.report.name)
        let skew = member.report.reportedAt - member.seenAt
        if abs(skew) > clockTolerance.fractionalSeconds {
          notes.append(
            FleetProblem(
              .note, member: member.report.name,
              "\(member.report.name)'s clock is \(Wording.time(seconds: abs(skew))) \(skew < 0 ? "behind" : "ahead of") "
                + "Redis's: times in its logs and payloads are wrong. Check NTP"))
        }
      }
    }
    look(facts.fleet.nodes)
    look(facts.fleet.workers)
    if namesByBuild.count > 1 {
      let list = namesByBuild.sorted { ($0.value.count, $1.key) > ($1.value.count, $0.key) }.map { build, names in
        "\(Wording.list(names, atMost: 3)) \(names.count == 1 ? "runs" : "run") \(build)"
      }
      notes.append(FleetProblem(.note, "builds differ: \(list.joined(separator: "; "))"))
    }
    return notes
  }

  /// - Parameter reported: The values of `maxmemory-policy` that live nodes report, if it can't be read from here.
  private static func redisNotes(
    _ redis: Fact<RedisFacts>, of name: String, reported: Set<String>
  ) -> [FleetProblem] {
    switch redis {
    case .unreadable(let why):
      let eviction =
        reported.isEmpty
        ? ": unknown whether it evicts keys. Allow INFO for sync-status's Redis user"
        : "; nodes report maxmemory-policy \(reported.sorted().joined(separator: ", "))"
      return [FleetProblem(.note, "\(name)'s settings can't be read (\(why))\(eviction)")]
    case .known(let redis):
      var notes: [FleetProblem] = []
      if redis.evictionPolicy != "noeviction", !Durability.evictsAnyKey(redis.evictionPolicy) {
        notes.append(
          FleetProblem(
            .note,
            "\(name) evicts keys that expire (maxmemory-policy \(redis.evictionPolicy)). Sluice's keys don't expire, so "
              + "they are safe; noeviction is recommended if only Sluice uses this Redis"))
      }
      if redis.limitBytes > 0, Double(redis.usedBytes) >= 0.9 * Double(redis.limitBytes) {
        let share = Int(Double(redis.usedBytes) / Double(redis.limitBytes) * 100)
        notes.append(
          FleetProblem(
            .note,
            "\(name) is \(share)% full: \(Wording.bytes(redis.usedBytes)) of \(Wording.bytes(redis.limitBytes))"))
      }
      if redis.savingFails { notes.append(FleetProblem(.note, "\(name) can't write to its disk: see its log")) }
      if redis.role != "master" {
        let what = name == "Redis" ? "this Redis" : name
        notes.append(FleetProblem(.note, "\(what) is a replica: what it shows may be old; ask the primary"))
      }
      return notes
    }
  }
}

extension FleetReading {
  /// For a member that was turned away.
  func notRegistered(_ member: MemberID) -> String {
    "the \(member.kind.rawValue) \(member.name) runs and isn't in the fleet's register, which is full: \(advice)"
  }

  fileprivate var advice: String {
    "it holds \(Wording.number(limit, "live member")). Run fewer and larger nodes and workers"
  }
}

extension FleetFacts {
  /// The facts on the Redis of a shard that a node reports; nil if it can't be read from here.
  fileprivate func reads(_ shard: NodeReport.Shard) -> RedisFacts? {
    // A shard without facts of its own Redis is in the Redis of the keys. So is, as far as is known, a shard that
    // wasn't read.
    (shards.first { $0.shard == shard.shard }?.redis ?? redis).value
  }

  /// The eviction policies that live nodes report for the Redis of the keys, if shards of the queue are in it.
  fileprivate var reportedPolicies: Set<String> {
    Set(
      fleet.nodes.filter(\.isLive).flatMap(\.report.queue.shards).filter { reported in
        shards.contains { $0.shard == reported.shard && $0.redis == nil && $0.queue.value != nil }
      }.compactMap(\.evictionPolicy))
  }

  /// By shard number, for the shards that could be read.
  fileprivate var deadBytes: [Int: AccountBytes] {
    shards.reduce(into: [:]) { $0[$1.shard] = $1.queue.value?.deadBytes }
  }
}

extension Duration {
  fileprivate var wholeSeconds: Int { Int(components.seconds) }
}
