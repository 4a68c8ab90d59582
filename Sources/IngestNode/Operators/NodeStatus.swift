// The node's report on itself, computed for each request from the admin listener, the heartbeat or the metrics. All of
// them use the same report, so that they can't contradict each other.

internal import Fleet
internal import Foundation
internal import IngestQueue
internal import IngestSpool
internal import KeyReplica
internal import KeyStore
internal import Listening
internal import Metrics
internal import NIOCore
internal import RedisClient
internal import Synchronization

/// Computes the node's report.
final class NodeStatus: Sendable {
  private let name: String
  private let build: String
  private let instance = InstanceID.random()
  private let startedAt = Date()
  private let replica: ReplicaDriver
  private let queues: [QueueLink]
  private let watch: QueueWatch
  private let spool: Spool?
  private let counters: AnswerCounters
  private let connections: ConnectionLimiter
  private let descriptorLimit: Int
  private let stopping: StopFlag
  private let registration: Registration
  private let fatal: FatalError
  private let configuredListen: String
  private let listening = Mutex<String?>(nil)
  private let hasBeenReady = Atomic<Bool>(false)
  private let recent = Mutex(RecentAnswers(since: .now()))
  private let gauges = NodeGauges()
  private let shardGauges = ShardGauges()

  init(
    name: String, build: String, listen: String, replica: ReplicaDriver, queues: [QueueLink], watch: QueueWatch,
    spool: Spool?,
    counters: AnswerCounters, connections: ConnectionLimiter, descriptorLimit: Int, stopping: StopFlag,
    registration: Registration, fatal: FatalError
  ) {
    self.fatal = fatal
    self.connections = connections
    self.descriptorLimit = descriptorLimit
    configuredListen = listen
    self.name = name
    self.build = build
    self.replica = replica
    self.queues = queues
    self.watch = watch
    self.spool = spool
    self.counters = counters
    self.stopping = stopping
    self.registration = registration
  }

  /// Sets the address at which pushes are accepted, once they are.
  func listens(at address: String) { listening.withLock { $0 = address } }

  /// The report as of now.
  /// - Throws: If the event loops have ended already.
  func report() async throws -> NodeReport {
    let (mirror, queue) = try await figures()
    let shards = try await watch.standings().get()
    let listen = listening.withLock { $0 }
    let reasons = reasons(standing(mirror, queue))
    let answers = counters.byReason
    // Under one lock, so that an older count isn't noted after a newer one.
    let (outcomes, lastMinute) = recent.withLock { recent in
      let outcomes = counters.byOutcome
      return (outcomes, recent.note(outcomes, at: .now()))
    }
    let report = NodeReport(
      name: name, build: build, instance: instance,
      state: stopping.isSet ? .draining : reasons.isEmpty ? .ready : listen == nil ? .starting : .notReady,
      ready: reasons.isEmpty, reasons: reasons, mirror: mirror, answers: counters.byStatus,
      outcomes: .init(outcomes), lastMinute: .init(lastMinute),
      proven: RefusalReason.allCases.reduce(0) { $0 + (answers[$1.rawValue] ?? 0) },
      timedOut: answers[Undecided.barrierTimedOut.code] ?? 0,
      queue: .init(queue, shards),
      connections: .init(
        open: connections.current, limit: connections.limit, evicted: connections.evictions,
        descriptorLimit: descriptorLimit),
      spool: spool.map { NodeReport.Spool($0.figures, limitBytes: $0.limits.bytes) },
      registrationError: registration.state.problem, fatalError: fatal.text,
      startedAt: startedAt.timeIntervalSince1970, reportedAt: Date().timeIntervalSince1970,
      listen: listen ?? configuredListen)
    gauges.set(report, registration.state)
    shardGauges.set(report.queue)
    return report
  }

  /// The share of a load balancer's traffic that this node should get.
  ///
  /// A node that can admit from a mirror that isn't proven any more is better than none. So is a node that admits but
  /// can't enqueue, because no node can tell whether Redis is unreachable for all nodes or only for itself. If it is
  /// unreachable for all, clients get 503 with Retry-After from a node, in their dialect, and not the answer of a load
  /// balancer with an empty pool. If it is unreachable for this node, the node gets only a small share, which the load
  /// balancer can send to another node. A node that is starting gets no traffic if its mirror is complete before its
  /// connections to the queue are open: that concerns only this node, and takes a moment.
  func agentState() async -> AgentState {
    if stopping.isSet { return .drain }
    do {
      let (mirror, queue) = try await figures()
      let standing = standing(mirror, queue)
      guard let reason = (standing.outages + standing.lacks).first else { return .up(weight: 100) }
      let isComing = standing.isOnlyQueueShut && !hasBeenReady.load(ordering: .relaxed)
      guard standing.mirrorAdmits, isListening, !isComing else { return .down(reason: reason) }
      return .up(weight: Self.lesserWeight, reason: reason)
    } catch {
      return .down(reason: "the node has ended")
    }
  }

  /// The weight of a node that can only admit, in percent.
  private static let lesserWeight = 5

  /// A mirror of this age or older isn't fresh, and nodes with fresh mirrors should be preferred.
  private static let freshness = Duration.seconds(10)

  private var isListening: Bool { listening.withLock { $0 != nil } }

  /// What this node can do now.
  private struct Standing {
    /// Faults of this node alone that make it useless, as text.
    var outages: [String] = []
    /// Faults that all nodes may have at once, as text: Redis is unreachable, or the mirror isn't the whole present
    /// store.
    var lacks: [String] = []
    /// Whether the mirror can be used for admitting nevertheless.
    var mirrorAdmits: Bool
    /// Whether nothing can be enqueued although the store, by default in the same Redis, is reachable.
    var isOnlyQueueShut: Bool
  }

  private func figures() async throws -> (ReplicaStatus, ProducerFigures) {
    let mirror = try await replica.status().get()
    var queue = ProducerFigures()
    for link in queues { queue.add(try await link.figures()) }
    return (mirror, queue)
  }

  private func standing(_ mirror: ReplicaStatus, _ queue: ProducerFigures) -> Standing {
    let isStoreAway = if case .storeAway = mirror.objection { true } else { false }
    var standing = Standing(mirrorAdmits: mirror.admits, isOnlyQueueShut: queue.obstacle != nil && !isStoreAway)
    if stopping.isSet { standing.outages.append("the node is shutting down") }
    if !isListening { standing.outages.append("the push listener isn't up yet") }
    if let obstacle = queue.obstacle {
      let spools = !queue.connected && spool.map { $0.figures.objection == nil } ?? false
      standing.lacks.append("\(obstacle): \(spools ? "spooling payloads to disk" : "nothing can be accepted")")
    }
    switch mirror.completeness.state {
    // A guarded mirror serves as well as a complete one. The fleet's status asks an operator to act.
    case .complete, .guarded:
      if !mirror.sealed {
        standing.lacks.append("the key store isn't sealed: keys that aren't active are answered 503")
      }
    case .empty, .restored, .loading, .diverged, .incompatible:
      standing.lacks.append(mirror.objection?.inWords ?? "the mirror is \(mirror.completeness.state.rawValue)")
    }
    if let age = mirror.age, age > Self.freshness {
      standing.lacks.append("the last answer of the key store is \(Int(age.fractionalSeconds)) s old")
    }
    if standing.outages.isEmpty, standing.lacks.isEmpty { hasBeenReady.store(true, ordering: .relaxed) }
    return standing
  }

  /// Why this node shouldn't get traffic, as text; empty if it should. A node becomes ready for the first time when
  /// nothing is wrong with it, which is when the agent-check says 100%. From then on it is ready while the agent-check
  /// says more than 0%: a fault that all nodes may have at once is no reason to leave a pool that would then be empty.
  private func reasons(_ standing: Standing) -> [String] {
    let goesOn = hasBeenReady.load(ordering: .relaxed) && standing.mirrorAdmits
    return standing.outages + (goesOn ? [] : standing.lacks)
  }
}

extension NodeReport.Spool {
  fileprivate init(_ figures: SpoolFigures, limitBytes: Int) {
    self.init(
      state: figures.objection == nil ? .open : .closed, entries: figures.entries, bytes: figures.bytes,
      limitBytes: limitBytes, oldestSeconds: figures.oldestSeconds, reason: figures.objection.map { "\($0)" },
      setAside: figures.setAside, setAsideBytes: figures.setAsideBytes)
  }
}

extension NodeReport.Outcomes {
  fileprivate init(_ outcomes: AnswerOutcomes) {
    self.init(
      taken: outcomes.taken, refused: outcomes.refused, limited: outcomes.limited,
      notTaken: outcomes.undecided.values.reduce(0, +) + outcomes.unavailable.values.reduce(0, +),
      invalid: outcomes.invalid)
  }
}

extension NodeReport.LastMinute {
  /// More reasons are useless, and a report has a size limit.
  private static let mostReasons = 5

  fileprivate init(_ outcomes: AnswerOutcomes) {
    var notTaken = outcomes.unavailable
    // If a refusal could be proven, keys can be judged.
    if outcomes.refused == 0 { notTaken.merge(outcomes.undecided) { $0 + $1 } }
    let reasons = notTaken.sorted { ($1.value, $0.key) < ($0.value, $1.key) }.prefix(Self.mostReasons)
    self.init(
      taken: outcomes.taken, notTaken: notTaken.values.reduce(0, +),
      reasons: Dictionary(uniqueKeysWithValues: reasons.map { ($0.key, $0.value) }))
  }
}

/// The report's figures as metrics.
private struct NodeGauges: Sendable {
  private let ready = Gauge(label: "sluice_node_ready")
  private let keys = Gauge(label: "sluice_replica_keys")
  private let verified = Gauge(label: "sluice_replica_verified_buckets")
  private let version = Gauge(label: "sluice_replica_version")
  private let storeVersion = Gauge(label: "sluice_replica_store_version")
  private let freshness = Gauge(label: "sluice_replica_freshness_seconds")
  private let heldBack = Gauge(label: "sluice_replica_held_back_keys")
  private let violations = Gauge(label: "sluice_replica_violations")
  private let vanished = Gauge(label: "sluice_replica_vanished_keys")
  private let revived = Gauge(label: "sluice_replica_revived_keys")
  private let wrongStore = Gauge(label: "sluice_replica_wrong_store")
  private let unknownKeys = Gauge(label: "sluice_recent_unknown_keys")
  private let admittedKeys = Gauge(label: "sluice_recent_admitted_keys")
  private let refusalStorm = Gauge(label: "sluice_refusal_storm")
  private let sourceAge = Gauge(label: "sluice_source_mark_age_seconds")
  private let sourceMaxAge = Gauge(label: "sluice_source_mark_max_age_seconds")
  private let sourceStale = Gauge(label: "sluice_source_stale")
  private let canRefuse = Gauge(label: "sluice_node_can_refuse")
  private let barrierReads = Gauge(label: "sluice_barrier_reads")
  private let barrierWaiting = Gauge(label: "sluice_barrier_waiting")
  private let queueConnected = Gauge(label: "sluice_queue_connected")
  private let queueWaiting = Gauge(label: "sluice_queue_waiting_entries")
  private let queueBytes = Gauge(label: "sluice_queue_bytes")
  private let queueBatches = Gauge(label: "sluice_queue_batches")
  private let queuePushed = Gauge(label: "sluice_queue_pushed_entries")
  private let queueMoved = Gauge(label: "sluice_queue_moved_batches")
  private let connections = Gauge(label: "sluice_connections")
  private let connectionLimit = Gauge(label: "sluice_connections_limit")
  private let registered = Gauge(label: "sluice_node_registered")
  private let spoolEntries = Gauge(label: "sluice_spool_entries")
  private let spoolBytes = Gauge(label: "sluice_spool_bytes")
  private let spoolOldest = Gauge(label: "sluice_spool_oldest_seconds")
  private let spoolOpen = Gauge(label: "sluice_spool_open")
  private let spoolSetAside = Gauge(label: "sluice_spool_set_aside")

  func set(_ report: NodeReport, _ registration: Registration.State) {
    if registration != .pending { registered.record(registration == .registered ? 1 : 0) }
    ready.record(report.ready ? 1 : 0)
    keys.record(report.keys)
    verified.record(report.completeness.verified)
    version.record(Double(report.version))
    if let version = report.storeVersion { storeVersion.record(Double(version)) }
    // A node that never read the store has no series, which isn't the same as 0.
    if let seconds = report.freshnessSeconds { freshness.record(seconds) }
    heldBack.record(report.heldBack)
    violations.record(Double(report.violations))
    vanished.record(report.vanished ?? 0)
    revived.record(report.revived ?? 0)
    wrongStore.record(report.wrongStore == nil ? 0 : 1)
    if let keys = report.recentKeys {
      unknownKeys.record(keys.unknown)
      admittedKeys.record(keys.admitted)
      refusalStorm.record(keys.storm ? 1 : 0)
    }
    if let source = report.source {
      // A store without a mark, or without a maximum age, has no series.
      if let seconds = source.ageSeconds { sourceAge.record(seconds) }
      if let seconds = source.maxAgeSeconds { sourceMaxAge.record(seconds) }
      sourceStale.record(source.stale ? 1 : 0)
    }
    canRefuse.record(report.refusalsBlocked == nil ? 1 : 0)
    barrierReads.record(Double(report.barrier.reads))
    barrierWaiting.record(report.barrier.waiting)
    queueConnected.record(report.queue.state == .connected ? 1 : 0)
    queueWaiting.record(report.queue.waiting)
    queueBytes.record(report.queue.inFlightBytes)
    queueBatches.record(report.queue.batches)
    queuePushed.record(report.queue.pushed)
    queueMoved.record(report.queue.movedBatches)
    if let open = report.connections {
      connections.record(open.open)
      connectionLimit.record(open.limit)
    }
    guard let spool = report.spool else { return }
    spoolEntries.record(spool.entries)
    spoolBytes.record(spool.bytes)
    spoolOldest.record(spool.oldestSeconds ?? 0)
    spoolOpen.record(spool.state == .open ? 1 : 0)
    spoolSetAside.record(spool.setAside ?? 0)
  }
}
