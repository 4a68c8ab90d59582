// The worker as a service: a `ShardWorker` for each shard of the queue, one sink, and the shutdown.
//
// It ends in two steps, as Sidekiq does: first it is quiet (it claims nothing new and finishes the batches in the
// sink); after a deadline it returns the unstored payloads. After any other end, `kill -9` included, the claims return
// to the queue when their leases end.

public import Fleet
public import IngestQueue
public import Logging
public import NIOCore
public import RedisClient
public import ServiceLifecycle

/// A worker's options.
public struct WorkerOptions: Sendable {
  public var name: WorkerName
  /// The build, for reports.
  public var build: String
  /// Batches in progress at the same time, in all shards together, from 1 to ``WorkerOptions/mostLanes``. Each shard
  /// has at least one lane.
  public var lanes: Int
  public var consumer: ConsumerLimits
  public var decoding: BodyDecoding
  /// Maximum bytes of decoded payloads in memory, over all lanes. A larger payload is decoded alone.
  public var decodedTotal: Int
  /// The pause before an envelope that failed alone is tried again.
  public var retry: Backoff
  /// The time from the signal to end until unstored payloads are returned.
  public var drainDeadline: Duration

  public static let mostLanes = ClaimLoop.most

  public init(
    name: WorkerName, build: String = "unknown", lanes: Int = 2, consumer: ConsumerLimits = ConsumerLimits(),
    decoding: BodyDecoding = BodyDecoding(), decodedTotal: Int = 192 << 20,
    retry: Backoff = Backoff(first: .seconds(1), most: .seconds(300)),
    drainDeadline: Duration = .seconds(10)
  ) {
    self.name = name
    self.build = build
    self.lanes = lanes
    self.consumer = consumer
    self.decoding = decoding
    self.decodedTotal = decodedTotal
    self.retry = retry
    self.drainDeadline = drainDeadline
  }
}

/// Another process uses this worker's name, so neither knows which claims are its own.
public struct WorkerNameTaken: Error, Sendable, Equatable, CustomStringConvertible {
  public let worker: WorkerName
  /// The other process's instance.
  public let by: String

  public var description: String {
    "two workers run under the name \"\(worker)\": instance \(by) has taken it over, so this one ends. Give each worker a "
      + "name of its own."
  }
}

/// Takes payloads from the queue and stores them.
public final class Worker: Service {
  private let options: WorkerOptions
  private let shards: [ShardWorker]
  private let sink: any Sink
  private let progress: WorkerProgress
  private let revoked: RevokedKeys?
  private let logger: Logger

  /// - Parameters:
  ///   - shards: All shards of the queue.
  ///   - sink: Closed when the worker ends.
  ///   - revoked: If given, payloads of keys that were revoked since are discarded; nil to store them.
  public init(
    shards: [QueueShard], options: WorkerOptions, sink: any Sink, revoked: RevokedKeys? = nil, logger: Logger
  ) {
    precondition(!shards.isEmpty, "a queue has at least one shard")
    precondition((1...WorkerOptions.mostLanes).contains(options.lanes), "a worker can't have \(options.lanes) lanes")
    let progress = WorkerProgress(
      name: "\(options.name)", instance: QueueConsumer.newInstance(), build: options.build, sink: sink.name)
    self.options = options
    self.sink = sink
    self.progress = progress
    self.revoked = revoked
    self.logger = logger
    let room = WorkerRoom(bytes: options.decodedTotal)
    self.shards = shards.enumerated().map { place, shard in
      let share = options.lanes / shards.count + (place < options.lanes % shards.count ? 1 : 0)
      return ShardWorker(
        shard, instance: progress.instance, lanes: max(share, 1), room: room, options: options, sink: sink,
        revoked: revoked, progress: progress, logger: logger)
    }
  }

  /// The worker's counters and state.
  public var report: WorkerReport { progress.report }

  private enum Ended: Sendable {
    case shard(WorkerNameTaken?)
    case drainDeadline
    case other
  }

  /// Works until a graceful shutdown or the task's cancellation. Call it once.
  /// - Throws: ``WorkerNameTaken``, ``SinkFailure`` if the sink can't be closed properly.
  public func run() async throws {
    logger.notice(
      "worker started",
      metadata: [
        "worker": "\(options.name)", "instance": "\(progress.instance)", "shards": "\(shards.count)",
        "sink": "\(sink.name)",
      ])
    // If the key store is unreachable, payloads are stored and don't wait.
    await revoked?.becomeComplete(within: .seconds(5))
    let taken = await withTaskGroup(of: Ended.self) { group in
      for shard in shards { group.addTask { .shard(await shard.run()) } }
      group.addTask { await self.drainDeadline() }
      var working = shards.count
      var taken: WorkerNameTaken?
      while let ended = await group.next() {
        switch ended {
        case .shard(let error):
          working -= 1
          taken = taken ?? error
          if working == 0 || taken != nil { group.cancelAll() }
        // The lanes return their claims and end.
        case .drainDeadline: group.cancelAll()
        case .other: break
        }
      }
      return taken
    }
    progress.stop()
    try await sink.close()
    if let taken { throw taken }
    logger.notice(
      "ended",
      metadata: ["stored": "\(report.stored)", "requeued": "\(progress.putBack)", "dead": "\(report.dead)"])
  }

  /// Waits until the worker is told to end, and then until its drain deadline.
  private func drainDeadline() async -> Ended {
    do {
      try await gracefulShutdown()
      logger.notice("shutting down: no new claims", metadata: ["claimed": "\(report.inHand)"])
      progress.goQuiet()
      try await Task.sleep(for: options.drainDeadline)
      return .drainDeadline
    } catch {
      // Cancelled, because the lanes have already ended.
      return .other
    }
  }
}
