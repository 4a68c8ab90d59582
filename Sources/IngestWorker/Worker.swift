// The worker as a service: its lanes, and beside them two small loops that extend its own leases and look for those of the dead.
//
// It ends in two steps, as Sidekiq does: quiet (nothing new is claimed, what is in the sink's hands is finished), and after a deadline
// what is left is put back. Whatever is cut off harder than that, kill -9 included, comes back when its lease ends.

public import Fleet
internal import Hiredis
public import IngestQueue
public import Logging
public import NIOCore
internal import NIOPosix
public import RedisClient
public import ServiceLifecycle

/// How a worker works.
public struct WorkerOptions: Sendable {
  public var name: WorkerName
  /// For reports: which build this is.
  public var build: String
  /// Batches that are worked on at one time, from 1 to ``WorkerOptions/mostLanes``.
  public var lanes: Int
  public var consumer: ConsumerLimits
  public var decoding: BodyDecoding
  /// The pause before an envelope that failed alone is tried again.
  public var retry: Backoff
  /// From being told to end until what isn't stored is put back.
  public var drainDeadline: Duration

  public static let mostLanes = Lane.most

  public init(
    name: WorkerName, build: String = "unknown", lanes: Int = 2, consumer: ConsumerLimits = ConsumerLimits(),
    decoding: BodyDecoding = BodyDecoding(), retry: Backoff = Backoff(first: .seconds(1), most: .seconds(300)),
    drainDeadline: Duration = .seconds(10)
  ) {
    self.name = name
    self.build = build
    self.lanes = lanes
    self.consumer = consumer
    self.decoding = decoding
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
  private let client: RedisClient
  private let layout: QueueLayout
  private let consumer: QueueConsumer
  private let sink: any Sink
  private let progress: WorkerProgress
  private let held = HeldBatches()
  private let logger: Logger

  /// - Parameters:
  ///   - shards: All shards of the queue.
  ///   - sink: Is closed when the worker ends.
  public init(
    shards: [QueueShard], options: WorkerOptions, sink: any Sink, logger: Logger
  ) {
    precondition(!shards.isEmpty, "a queue has at least one shard")
    precondition((1...WorkerOptions.mostLanes).contains(options.lanes), "a worker can't have \(options.lanes) lanes")
    self.options = options
    layout = shards[0].layout
    self.sink = sink
    self.logger = logger
    var redis = RedisOptions(name: "ingest-worker")
    // One envelope of the largest size, or a batch, with room for the rest of the answer.
    redis.replyLimits.bytes = max(options.consumer.largestEnvelope, options.consumer.bytes) + (1 << 20)
    client = shards[0].client(options: redis, on: MultiThreadedEventLoopGroup.singleton.next(), logger: logger)
    consumer = QueueConsumer(client: client, layout: layout, worker: options.name, limits: options.consumer)
    progress = WorkerProgress(
      name: "\(options.name)", instance: consumer.instance, build: options.build, sink: sink.name)
  }

  /// What the worker has done and is doing.
  public var report: WorkerReport { progress.report }

  private enum Ended: Sendable {
    case lanes(WorkerNameTaken?)
    case drainDeadline
    case other
  }

  /// Works until a graceful shutdown or the task's cancellation. To be called once.
  /// - Throws: ``WorkerNameTaken``, ``SinkFailure`` when the sink can't be closed in good order.
  public func run() async throws {
    logger.notice(
      "working", metadata: ["worker": "\(options.name)", "instance": "\(consumer.instance)", "sink": "\(sink.name)"])
    let taken = await withTaskGroup(of: Ended.self) { group in
      group.addTask { .lanes(await self.runLanes()) }
      group.addTask { await self.extendLeases() }
      group.addTask { await self.reap() }
      group.addTask { await self.drainDeadline() }
      var taken: WorkerNameTaken?
      while let ended = await group.next() {
        switch ended {
        case .lanes(let error):
          taken = error
          group.cancelAll()
        // The lanes put back what they have and end.
        case .drainDeadline: group.cancelAll()
        case .other: break
        }
      }
      return taken
    }
    await leave()
    client.shutDown()
    progress.stop()
    try await sink.close()
    if let taken { throw taken }
    logger.notice(
      "ended",
      metadata: ["stored": "\(report.stored)", "put_back": "\(progress.putBack)", "dead": "\(report.dead)"])
  }

  private func runLanes() async -> WorkerNameTaken? {
    let surroundings = LaneSurroundings(
      consumer: consumer, sink: sink, decoding: options.decoding, retry: options.retry, held: held,
      progress: progress, logger: logger)
    return await withTaskGroup(of: WorkerNameTaken?.self) { group in
      for number in 0..<options.lanes {
        group.addTask {
          do throws(WorkerNameTaken) {
            try await Lane(number: number, surroundings: surroundings).run()
            return nil
          } catch {
            return error
          }
        }
      }
      var taken: WorkerNameTaken?
      for await error in group {
        guard let error else { continue }
        // The others put back what they have.
        taken = taken ?? error
        group.cancelAll()
      }
      return taken
    }
  }

  /// Ends when the worker was told to end and has had its time.
  private func drainDeadline() async -> Ended {
    do {
      try await gracefulShutdown()
      logger.notice("told to end: claiming nothing more", metadata: ["in_hand": "\(report.inHand)"])
      progress.goQuiet()
      try await Task.sleep(for: options.drainDeadline)
      return .drainDeadline
    } catch {
      // Cancelled, because the lanes have ended before.
      return .other
    }
  }

  // MARK: Leases

  private func extendLeases() async -> Ended {
    while await slept(options.consumer.lease / 3) {
      for batch in held.all {
        var batch = batch
        do throws(QueueFailure) {
          // Where it is lost, the lane will hear so when it settles.
          if try await consumer.extendLease(of: &batch) { held.extended(batch) }
        } catch {
          progress.wentWrong("a lease could not be extended: \(error)")
        }
      }
    }
    return .other
  }

  private func reap() async -> Ended {
    var wasAway = false
    while await slept(options.consumer.lease / 2) {
      do throws(QueueFailure) {
        if wasAway {
          // After an outage every lease may have ended, of workers that live and are about to extend theirs. So the
          // first look only looks.
          _ = try await QueueState.read(from: client, layout: layout)
          wasAway = false
          continue
        }
        var unfinished = true
        while unfinished && !Task.isCancelled {
          let reaping = try await consumer.reap()
          unfinished = reaping.isUnfinished
          log(reaping)
        }
      } catch {
        wasAway = true
        progress.wentWrong("ended leases could not be looked for: \(error)")
      }
    }
    return .other
  }

  private func log(_ reaping: Reaping) {
    if reaping.putBack + reaping.dead > 0 {
      logger.warning(
        "put back what workers had claimed and not settled within their lease",
        metadata: [
          "claims": "\(reaping.claims)", "envelopes": "\(reaping.putBack)", "dead_letters": "\(reaping.dead)",
        ])
    }
    for key in reaping.strange {
      logger.error("a claim is not as it should be; something else writes to this Redis", metadata: ["key": "\(key)"])
    }
  }

  private func leave() async {
    do throws(QueueFailure) {
      try await consumer.leave()
    } catch {
      // Whoever reaps forgets this worker in time.
      logger.info("could not take this worker off the list", metadata: ["reason": "\(error)"])
    }
  }

  /// False when cancelled.
  private func slept(_ duration: Duration) async -> Bool {
    do {
      try await Task.sleep(for: duration)
      return true
    } catch {
      return false
    }
  }
}
