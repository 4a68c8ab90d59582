// The node's connections to the queue, in its report and in its metrics.

internal import Fleet
internal import IngestQueue
internal import Metrics
internal import NIOCore
internal import RedisClient
internal import Synchronization

/// One event loop's connections to the queue, as far as a report needs them.
struct QueueLink: Sendable {
  /// One for each shard.
  let clients: [RedisClient]
  let gate: PushHandler

  func figures() async throws -> ProducerFigures {
    let (counters, obstacle) = try await gate.producerState().get()
    return ProducerFigures(
      connected: counters.connectedShards > 0, obstacle: obstacle.map(ProducerFigures.words), counters: counters)
  }
}

/// The figures of all event loops together.
struct ProducerFigures: Sendable {
  /// Whether every event loop has a connection to at least one shard.
  var connected = true
  /// Why an event loop can't enqueue to any shard, as text; nil if all can.
  var obstacle: String?
  var counters = ProducerCounters()

  mutating func add(_ other: ProducerFigures) {
    connected = connected && other.connected
    obstacle = obstacle ?? other.obstacle
    counters.batches += other.counters.batches
    counters.entries += other.counters.entries
    counters.movedBatches += other.counters.movedBatches
    counters.waitingEntries += other.counters.waitingEntries
    counters.bytes += other.counters.bytes
  }

  /// Without values that change at each reading, such as the seconds until the obstacle may be gone.
  static func words(_ obstacle: EnqueueError) -> String {
    switch obstacle {
    case .overLimit: "the queue is over its limit"
    case .durabilityLost(let why): why
    default: "the queue's Redis is unreachable"
    }
  }
}

extension NodeReport.Queue {
  init(_ figures: ProducerFigures, _ standings: [ShardStanding]) {
    let durabilities = standings.map(\.durability)
    // A shard that hasn't been read has an unknown durability, so the worst durability is unknown too.
    let worst = durabilities.contains { $0 == nil } ? nil : durabilities.compactMap { $0 }.min { $0.isWorse(than: $1) }
    self.init(
      state: figures.connected ? .connected : .away, waiting: figures.counters.waitingEntries,
      inFlightBytes: figures.counters.bytes, durability: worst?.description, batches: figures.counters.batches,
      pushed: figures.counters.entries, movedBatches: figures.counters.movedBatches,
      shards: standings.map(NodeReport.Shard.init))
  }
}

extension NodeReport.Shard {
  init(_ standing: ShardStanding) {
    let reading = standing.reading
    self.init(
      shard: standing.shard, redis: "\(standing.endpoint)",
      admits: !standing.isStale && standing.durabilityLack == nil && standing.admission.shutFor == nil,
      overLimit: standing.admission.shutFor?.rawValue, entries: reading?.entries, bytes: reading?.bytes,
      memory: reading?.memory, memoryLimit: reading?.memoryLimit, drainPerSecond: standing.admission.drainPerSecond,
      readSeconds: standing.age.map { Double($0.nanoseconds) / 1e9 }, durability: standing.durability?.description,
      durabilityLack: standing.durabilityLack, deadBytes: reading?.deadBytes.all,
      roomBytes: reading.map { _ in standing.admission.deadLetters.room },
      refusedAccounts: reading.map { _ in standing.admission.deadLetters.told.count },
      evictionPolicy: standing.durability?.evictionPolicy)
  }
}

/// The figures of each shard, as metrics. Unknown figures have no series.
final class ShardGauges: Sendable {
  private struct Shard: Sendable {
    let admits: Gauge
    let entries: Gauge
    let bytes: Gauge
    let memory: Gauge
    let drain: Gauge
    let age: Gauge
    let deadBytes: Gauge
    let refusedAccounts: Gauge

    init(_ shard: Int) {
      func gauge(_ name: String) -> Gauge {
        Gauge(label: "sluice_queue_shard_\(name)", dimensions: [("shard", "\(shard)")])
      }
      admits = gauge("admits")
      entries = gauge("entries")
      bytes = gauge("bytes")
      memory = gauge("memory_bytes")
      drain = gauge("drained_per_second")
      age = gauge("read_age_seconds")
      deadBytes = gauge("dead_letter_bytes")
      refusedAccounts = gauge("refused_accounts")
    }
  }

  private let shards = Mutex<[Int: Shard]>([:])

  func set(_ queue: NodeReport.Queue) {
    for shard in queue.shards {
      let gauges = shards.withLock { shards in
        let known = shards[shard.shard] ?? Shard(shard.shard)
        shards[shard.shard] = known
        return known
      }
      gauges.admits.record(shard.admits ? 1 : 0)
      if let entries = shard.entries { gauges.entries.record(Double(entries)) }
      if let bytes = shard.bytes { gauges.bytes.record(Double(bytes)) }
      if let memory = shard.memory { gauges.memory.record(Double(memory)) }
      if let rate = shard.drainPerSecond { gauges.drain.record(rate) }
      if let seconds = shard.readSeconds { gauges.age.record(seconds) }
      if let bytes = shard.deadBytes { gauges.deadBytes.record(Double(bytes)) }
      if let accounts = shard.refusedAccounts { gauges.refusedAccounts.record(accounts) }
    }
  }
}
