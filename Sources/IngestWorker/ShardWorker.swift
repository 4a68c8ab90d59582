// A worker's part in one shard of the queue: its lanes, and two small loops. One extends the worker's own leases, the
// other looks for claims of dead workers.
//
// Each shard has its own lanes, loops and connection to Redis, so that an unreachable or slow shard delays no other.
// All shards share the sink and the counters. Rejected: lanes that serve all shards by turns. Settling is repeated
// until the lease is over, so soon every lane would wait for one unreachable shard.

internal import Fleet
internal import Hiredis
internal import IngestQueue
internal import Logging
internal import NIOCore
internal import NIOPosix
internal import RedisClient

final class ShardWorker: Sendable {
  private let number: Int
  private let layout: QueueLayout
  private let client: RedisClient
  private let consumer: QueueConsumer
  private let held = HeldBatches()
  private let lanes: Int
  private let room: WorkerRoom
  private let options: WorkerOptions
  private let sink: any Sink
  private let revoked: RevokedKeys?
  private let progress: WorkerProgress
  private let logger: Logger

  /// - Parameters:
  ///   - instance: The worker's instance, the same in all shards.
  ///   - lanes: The number of the worker's lanes in this shard.
  init(
    _ shard: QueueShard, instance: String, lanes: Int, room: WorkerRoom, options: WorkerOptions, sink: any Sink,
    revoked: RevokedKeys?, progress: WorkerProgress, logger: Logger
  ) {
    precondition((1...ClaimLoop.most).contains(lanes), "a worker can't have \(lanes) lanes in a shard")
    number = shard.layout.shard
    layout = shard.layout
    self.lanes = lanes
    self.room = room
    self.options = options
    self.sink = sink
    self.revoked = revoked
    self.progress = progress
    var logger = logger
    logger[metadataKey: "shard"] = "\(shard.layout.shard)"
    self.logger = logger
    var redis = RedisOptions(name: "ingest-worker")
    redis.saysDenied = true
    // The largest envelope or a whole batch, plus room for the rest of the reply.
    redis.replyLimits.bytes = max(options.consumer.largestEnvelope, options.consumer.bytes) + (1 << 20)
    client = shard.client(options: redis, on: MultiThreadedEventLoopGroup.singleton.next(), logger: logger)
    consumer = QueueConsumer(
      client: client, layout: layout, worker: options.name, instance: instance, limits: options.consumer)
  }

  private enum Ended: Sendable {
    case lanes(WorkerNameTaken?)
    case other
  }

  /// Works until the worker should end. Then it returns its claims and removes the worker from the shard's list.
  /// - Returns: The reason if it can't continue; nil if the worker ended.
  func run() async -> WorkerNameTaken? {
    let taken = await withTaskGroup(of: Ended.self) { group in
      group.addTask { .lanes(await self.runLanes()) }
      group.addTask { await self.extendLeases() }
      group.addTask { await self.reap() }
      var taken: WorkerNameTaken?
      for await case .lanes(let error) in group {
        taken = error
        group.cancelAll()
      }
      return taken
    }
    await leave()
    client.shutDown()
    return taken
  }

  private func runLanes() async -> WorkerNameTaken? {
    let surroundings = LaneSurroundings(
      shard: number, lanes: lanes, consumer: consumer, sink: sink, decoding: options.decoding, retry: options.retry,
      revoked: revoked,
      held: held, room: room, progress: progress, logger: logger)
    return await withTaskGroup(of: WorkerNameTaken?.self) { group in
      for number in 0..<lanes {
        group.addTask {
          do throws(WorkerNameTaken) {
            try await ClaimLoop(number: number, surroundings: surroundings).run()
            return nil
          } catch {
            return error
          }
        }
      }
      var taken: WorkerNameTaken?
      for await error in group {
        guard let error else { continue }
        // The other lanes return their batches.
        taken = taken ?? error
        group.cancelAll()
      }
      return taken
    }
  }

  // MARK: Leases

  /// Maximum time between two checks of the leases. The scripts interpret a much longer time as a step of Redis's
  /// clock.
  private static let longestPause = Duration.seconds(10)

  private func extendLeases() async -> Ended {
    while await slept(min(options.consumer.lease / 3, Self.longestPause)) {
      for batch in held.all {
        var batch = batch
        do throws(QueueFailure) {
          // If the claim is lost, the lane notices it when it settles.
          if try await consumer.extendLease(of: &batch) { held.extended(batch) }
        } catch {
          progress.wentWrong("a lease could not be extended: \(error)", shard: number)
        }
      }
    }
    return .other
  }

  private func reap() async -> Ended {
    var wasAway = false
    while await slept(min(options.consumer.lease / 2, Self.longestPause)) {
      do throws(QueueFailure) {
        if wasAway {
          // After an outage all leases may have ended, including those of live workers that are about to extend theirs.
          // So the first check only reads.
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
        progress.wentWrong("can't look for expired claims: \(error)", shard: number)
      }
    }
    return .other
  }

  private func log(_ reaping: Reaping) {
    if reaping.putBack + reaping.dead > 0 {
      logger.warning(
        "requeued payloads of workers whose lease expired",
        metadata: [
          "claims": "\(reaping.claims)", "envelopes": "\(reaping.putBack)", "dead_letters": "\(reaping.dead)",
        ])
    }
    for key in reaping.strange {
      logger.error(
        """
        malformed claim: another program wrote to this Redis key. Payloads in it are requeued. Stop that program; if the key \
        isn't a list, delete it
        """, metadata: ["key": "\(key)"])
    }
  }

  private func leave() async {
    do throws(QueueFailure) {
      try await consumer.leave()
    } catch {
      // Another worker's reaper will remove this worker later.
      logger.info("removing this worker from the queue's worker list failed", metadata: ["reason": "\(error)"])
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
