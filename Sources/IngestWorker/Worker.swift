// The worker as a service: a part for each shard of the queue, one sink, and the end.
//
// It ends in two steps, as Sidekiq does: quiet (nothing new is claimed, what is in the sink's hands is finished), and after a deadline
// what is left is put back. Whatever is cut off harder than that, kill -9 included, comes back when its lease ends.

public import Fleet
public import IngestQueue
public import Logging
public import NIOCore
public import RedisClient
public import ServiceLifecycle

/// How a worker works.
public struct WorkerOptions: Sendable {
  public var name: WorkerName
  /// For reports: which build this is.
  public var build: String
  /// Batches that are worked on at one time, from 1 to ``WorkerOptions/mostLanes``: in all shards together, but at least one in
  /// each.
  public var lanes: Int
  public var consumer: ConsumerLimits
  public var decoding: BodyDecoding
  /// The most bytes of decoded payloads in memory at one time, over all lanes. A payload that alone is larger is decoded alone.
  public var decodedTotal: Int
  /// The pause before an envelope that failed alone is tried again.
  public var retry: Backoff
  /// From being told to end until what isn't stored is put back.
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

/// Another process goes by this worker's name, so neither knows what is its own.
public struct WorkerNameTaken: Error, Sendable, Equatable, CustomStringConvertible {
  public let worker: WorkerName
  /// The other one's instance.
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
  ///   - sink: Is closed when the worker ends.
  ///   - revoked: Discards payloads of keys that were revoked since; nil to store them.
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

  /// What the worker has done and is doing.
  public var report: WorkerReport { progress.report }

  private enum Ended: Sendable {
    case shard(WorkerNameTaken?)
    case drainDeadline
    case other
  }

  /// Works until a graceful shutdown or the task's cancellation. To be called once.
  /// - Throws: ``WorkerNameTaken``, ``SinkFailure`` when the sink can't be closed in good order.
  public func run() async throws {
    logger.notice(
      "working",
      metadata: [
        "worker": "\(options.name)", "instance": "\(progress.instance)", "shards": "\(shards.count)",
        "sink": "\(sink.name)",
      ])
    // Where the key store is away, payloads are stored rather than kept waiting.
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
        // The lanes put back what they have and end.
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
      metadata: ["stored": "\(report.stored)", "put_back": "\(progress.putBack)", "dead": "\(report.dead)"])
  }

  /// Ends when the worker was told to end and has had its time.
  private func drainDeadline() async -> Ended {
    do {
      try await gracefulShutdown()
      logger.notice("shutting down: no new claims", metadata: ["in_hand": "\(report.inHand)"])
      progress.goQuiet()
      try await Task.sleep(for: options.drainDeadline)
      return .drainDeadline
    } catch {
      // Cancelled, because the lanes have ended before.
      return .other
    }
  }
}
