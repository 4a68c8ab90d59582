// Watches all shards of the queue from one event loop: how full each is, how fast it drains, and how durable its Redis
// is. It sends the results to the producers' event loops, so that no payload waits for the watch or for a lock.
//
// About once a second each shard is read, with one write: a read-only script, and INFO and CONFIG beside it. A reading
// that fails changes nothing by itself. But the last result ages, and beyond a limit it isn't used any more. Then the
// producers use the replies to pushes, and if a durability is required nothing is acknowledged. Rejected: a reading by
// each event loop, which would repeat the same read many times; and a read before each push, which would cost a round
// trip.

internal import Hiredis
public import Logging
public import NIOCore
internal import RedisClient

/// Watches how full the shards of a queue are, and how durable.
public final class QueueWatch: Sendable {
  /// The intervals of readings, and the age up to which a result is used.
  public struct Timing: Sendable {
    /// Pause between the end of a reading and the next one.
    public var pause: TimeAmount
    /// Maximum time of one reading.
    public var deadline: TimeAmount
    /// Maximum age of a result. An older result isn't used.
    public var staleAfter: TimeAmount

    public init(
      pause: TimeAmount = .seconds(1), deadline: TimeAmount = .seconds(2), staleAfter: TimeAmount = .seconds(10)
    ) {
      self.pause = pause
      self.deadline = deadline
      self.staleAfter = staleAfter
    }
  }

  public let limits: QueueLimits
  public let requirement: DurabilityRequirement
  private let eventLoop: any EventLoop
  private let state: NIOLoopBoundBox<WatchCore>

  /// - Parameter shards: With separate clients, all on one event loop. The caller shuts the clients down, after
  ///   ``stop()``.
  public init(
    shards: [QueueProducer.Shard], limits: QueueLimits = QueueLimits(), requirement: DurabilityRequirement = .none,
    timing: Timing = Timing(), logger: Logger
  ) {
    precondition(!shards.isEmpty, "a queue has at least one shard")
    self.limits = limits
    self.requirement = requirement
    eventLoop = shards[0].client.eventLoop
    state = NIOLoopBoundBox.makeBoxSendingValue(
      WatchCore(
        shards: shards.map { ($0.client, $0.layout) }, limits: limits, requirement: requirement, timing: timing,
        eventLoop: eventLoop, logger: logger), eventLoop: eventLoop)
  }

  /// Begins to read at once. The future succeeds after ``stop()``. It fails with ``InsufficientDurability`` if the
  /// first known durability of a shard is below the required one: the node should not accept payloads then.
  public func start() -> EventLoopFuture<Void> {
    eventLoop.flatSubmit { [state] in state.value.start() }
  }

  public func stop() {
    eventLoop.execute { [state] in state.value.stop() }
  }

  /// The state of each shard, in their order. The future fails only when the event loop has ended.
  public func standings() -> EventLoopFuture<[ShardStanding]> {
    eventLoop.submit { [state] in state.value.standings() }
  }

  /// Adds a listener for updates, called on the watch's own event loop.
  func tell(_ listener: @escaping @Sendable (Int, ShardUpdate) -> Void) {
    eventLoop.execute { [state] in state.value.listeners.append(listener) }
  }
}

/// The state of the watch. Used on its event loop only.
private final class WatchCore {
  var listeners: [@Sendable (Int, ShardUpdate) -> Void] = []

  private let shards: [WatchedShard]
  private let requirement: DurabilityRequirement
  private let timing: QueueWatch.Timing
  private let eventLoop: any EventLoop
  private let logger: Logger
  private var ended: EventLoopPromise<Void>?

  init(
    shards: [(RedisClient, QueueLayout)], limits: QueueLimits, requirement: DurabilityRequirement,
    timing: QueueWatch.Timing, eventLoop: any EventLoop, logger: Logger
  ) {
    self.shards = shards.map { WatchedShard(client: $0, layout: $1, limits: limits) }
    self.requirement = requirement
    self.timing = timing
    self.eventLoop = eventLoop
    self.logger = logger
  }

  func start() -> EventLoopFuture<Void> {
    let promise = ended ?? eventLoop.makePromise()
    guard ended == nil else { return promise.futureResult }
    ended = promise
    for place in shards.indices { read(place) }
    return promise.futureResult
  }

  func stop() {
    let promise = ended ?? eventLoop.makePromise()
    ended = promise
    for shard in shards { shard.isStopped = true }
    promise.succeed()
  }

  func standings() -> [ShardStanding] {
    let now = NIODeadline.now()
    return shards.map { shard in
      ShardStanding(
        shard: shard.layout.shard, endpoint: shard.client.endpoint, reading: shard.reading,
        age: shard.readAt.map { now - $0 }, isStale: isStale(shard.readAt, now), admission: shard.admission,
        durability: shard.durability, durabilityLack: durabilityLack(shard, now))
    }
  }

  private func isStale(_ readAt: NIODeadline?, _ now: NIODeadline) -> Bool {
    readAt.map { now - $0 > timing.staleAfter } ?? true
  }

  private func durabilityLack(_ shard: WatchedShard, _ now: NIODeadline) -> String? {
    guard requirement != .none else { return nil }
    guard let durability = shard.durability else { return "Redis's durability settings haven't been read yet" }
    if isStale(shard.durabilityReadAt, now) { return "Redis's durability settings can't be read at the moment" }
    return requirement.shortfall(of: durability)
  }

  // MARK: Reading

  /// Read as soon as there is a connection, so that another Redis is noticed before much is pushed to it.
  private func read(_ place: Int) {
    let shard = shards[place]
    guard !shard.isStopped else { return }
    shard.client.connection(within: timing.pause).assumeIsolated().whenComplete { result in
      switch result {
      case .success: self.ask(place)
      case .failure(let error): self.finishReading(place, before: shard.mark.counts, problem: "\(error)")
      }
    }
  }

  private func ask(_ place: Int) {
    let shard = shards[place]
    let before = shard.mark.counts
    // In one turn of the event loop, so in one write or two.
    let script = LevelScript(layout: shard.layout, mayMissBytes: shard.mark.countingProblem != nil)
    let level = shard.client.run(script, within: timing.deadline)
    let rest = shard.client.send(Durability.questions, within: timing.deadline)
    // Separate from the script: in a cluster no script is answered while the slot moves, but the durability can still
    // be read.
    rest.assumeIsolated().whenSuccess { rest in
      self.take(Durability(answers: rest), of: shard, .now())
      self.take(payloadLimit: ServerPayloadLimit.read(answers: rest), of: shard)
    }
    level.and(rest).assumeIsolated().whenComplete { result in
      var problem: String?
      do {
        let (level, rest) = try result.get()
        shard.take(try QueueReading(level: script.read(level), info: rest[1]), .now(), reached: before.reached)
      } catch {
        problem = "\(error)"
      }
      self.finishReading(place, before: before, problem: problem)
    }
  }

  /// Sends an update.
  /// - Parameters:
  ///   - before: The mark's counts before the shard was read.
  ///   - problem: Why the shard couldn't be read, if it couldn't.
  private func finishReading(_ place: Int, before: HighMark.Counts, problem: String?) {
    let shard = shards[place]
    // The watch may have been stopped.
    guard !shard.isStopped else { return }
    let now = NIODeadline.now()
    shard.problem = problem
    say(shard, now)
    let level: ShardUpdate.Level =
      if problem == nil, let reading = shard.reading {
        .read(entries: reading.entriesByList, bytes: reading.bytesByList, shard.admission)
      } else {
        isStale(shard.readAt, now) ? .unknown : .unchanged
      }
    let word = ShardUpdate(
      level: level, counted: before, payloadLimit: shard.payloadLimit, durabilityLack: durabilityLack(shard, now),
      mark: shard.mark)
    for listener in listeners { listener(place, word) }
    eventLoop.assumeIsolated().scheduleTask(in: timing.pause) { self.read(place) }
  }

  private func take(payloadLimit limit: Int?, of shard: WatchedShard) {
    defer { shard.payloadLimit = limit }
    guard limit != shard.payloadLimit else { return }
    let metadata: Logger.Metadata = ["shard": "\(shard.layout.shard)", "redis": "\(shard.client.endpoint)"]
    if let limit, limit < ServerPayloadLimit.worthSaying {
      logger.warning(
        "payloads over limit_bytes are answered 413 because Redis rejects them. To accept larger ones raise these Redis settings",
        metadata: metadata.merging([
          "limit_bytes": "\(limit)", "settings": "\(ServerPayloadLimit.settings.joined(separator: ", "))",
        ]) { $1 })
    } else if let before = shard.payloadLimit, before < ServerPayloadLimit.worthSaying {
      logger.notice("Redis accepts large payloads again", metadata: metadata)
    }
  }

  private func take(_ durability: Durability, of shard: WatchedShard, _ now: NIODeadline) {
    let before = shard.durability
    shard.durability = durability
    shard.durabilityReadAt = now
    let metadata: Logger.Metadata = [
      "shard": "\(shard.layout.shard)", "redis": "\(shard.client.endpoint)", "durability": "\(durability)",
    ]
    switch before {
    case nil: logger.notice("queue durability", metadata: metadata)
    case let before? where before != durability:
      logger.log(
        level: durability.isWorse(than: before) ? .warning : .notice,
        "queue durability changed, from \(before)", metadata: metadata)
    default: break
    }
    guard let lack = requirement.shortfall(of: durability) else {
      shard.hasMetRequirement = true
      return
    }
    // A running node continues, and answers 503 until the requirement is met again.
    if !shard.hasMetRequirement {
      ended?.fail(
        InsufficientDurability(description: "shard \(shard.layout.shard) at \(shard.client.endpoint): \(lack)"))
    }
  }

  /// Logs changes of a shard's state, once for each change.
  private func say(_ shard: WatchedShard, _ now: NIODeadline) {
    let metadata: Logger.Metadata = ["shard": "\(shard.layout.shard)", "redis": "\(shard.client.endpoint)"]
    let isBlind = shard.readAt.map { now - $0 > timing.staleAfter } ?? false
    if isBlind != shard.saidBlind {
      shard.saidBlind = isBlind
      if isBlind {
        logger.warning(
          "queue size of this shard unknown: its limits are estimated, and payloads are still pushed to it. See reason",
          metadata: metadata.merging(["reason": "\(shard.problem ?? "")"]) { $1 })
      } else {
        logger.notice("queue size of this shard known again", metadata: metadata)
      }
    }
    let shutFor = shard.admission.shutFor
    if (shutFor == nil) == shard.saidShut {
      shard.saidShut = shutFor != nil
      if let shutFor, let reading = shard.reading {
        logger.warning(
          """
          queue shard over its limit: it gets no pushes until it is below --queue-low-water. Pushes go to other shards or \
          are answered 503. Start workers or raise the limit
          """,
          metadata: metadata.merging([
            "limit": "\(shutFor.rawValue)", "entries": "\(reading.entries)", "bytes": "\(reading.bytes)",
            "redis_memory": "\(reading.memory.map { "\($0)" } ?? "unknown")",
          ]) { $1 })
      } else {
        logger.notice("queue shard below --queue-low-water: it gets pushes again", metadata: metadata)
      }
    }
    let countingProblem = shard.mark.countingProblem
    if (countingProblem == nil) == shard.saidUncounted {
      shard.saidUncounted = countingProblem != nil
      if let countingProblem {
        logger.error(
          """
          queue size in bytes is only estimated: Redis denies counting. Allow this Redis user HINCRBY on the key, see \
          Deploy/redis/users.acl
          """,
          metadata: metadata.merging(["reason": "\(countingProblem)", "key": "\(shard.layout.bytes)"]) { $1 })
      } else {
        logger.notice("queue size in bytes is exact again", metadata: metadata)
      }
    }
    say(shard.admission.deadLetters, .deadLetters, &shard.saidDeadLetters, metadata)
    say(shard.admission.retries, .retries, &shard.saidRetries, metadata)
    let lack = shard.durability.flatMap { requirement.shortfall(of: $0) }
    if shard.hasMetRequirement, (lack == nil) == shard.saidLack {
      shard.saidLack = lack != nil
      if let lack {
        logger.error(
          "shard is less durable than --require-durability: its pushes go to other shards or are answered 503. See reason",
          metadata: metadata.merging(["reason": "\(lack)"]) { $1 })
      } else {
        logger.notice("shard is as durable as --require-durability again: it gets pushes again", metadata: metadata)
      }
    }
  }
}

/// The texts about accounts that are over a limit.
private struct QuotaWords: Sendable {
  let level: Logger.Level
  let over: Logger.Message
  let below: Logger.Message
  /// The name of the account's bytes in the log.
  let bytes: String
  /// The command that shows more, for an account.
  let command: @Sendable (String) -> String

  static let deadLetters = QuotaWords(
    level: .error,
    over: """
      account over its dead-letter limit: its pushes to this shard are rejected until dead letters are requeued or \
      discarded
      """,
    below: "account below its dead-letter limit: its pushes to this shard are accepted again",
    bytes: "dead_letter_bytes"
  ) { "sync-status dead --account \($0)" }

  static let retries = QuotaWords(
    level: .warning,
    over: """
      account over its limit for payloads that wait for a retry: its pushes to this shard are rejected until the sink \
      stores them. Check the workers' sink
      """,
    below: "account below its limit for payloads that wait for a retry: its pushes to this shard are accepted again",
    bytes: "retry_bytes"
  ) { _ in "sync-status queue" }
}

extension WatchCore {
  /// Logs which accounts are over a limit now, and which no longer are, once for each account and episode.
  /// - Parameter said: The accounts of the last call.
  private func say(
    _ quota: AccountQuota, _ words: QuotaWords, _ said: inout [String: Int64], _ metadata: Logger.Metadata
  ) {
    guard quota.told != said else { return }
    for (account, bytes) in quota.told where said[account] == nil {
      logger.log(
        level: words.level, words.over,
        metadata: metadata.merging([
          "account": "\(account)", words.bytes: "\(bytes)", "limit": "\(quota.limit)",
          "see": "\(words.command(account))",
        ]) { $1 })
    }
    for account in said.keys where quota.told[account] == nil {
      logger.notice(words.below, metadata: metadata.merging(["account": "\(account)"]) { $1 })
    }
    said = quota.told
  }
}

/// The watch's state of one shard.
private final class WatchedShard {
  let client: RedisClient
  let layout: QueueLayout
  let mark = HighMark()
  /// The mark's count at the last reading.
  private var reached = 0
  var admission: Admission
  var reading: QueueReading?
  var readAt: NIODeadline?
  var durability: Durability?
  var durabilityReadAt: NIODeadline?
  var payloadLimit: Int?
  var hasMetRequirement = false
  /// Why the last reading failed, as text.
  var problem: String?
  var isStopped = false
  var saidBlind = false
  var saidShut = false
  var saidUncounted = false
  /// The accounts that were logged as having too many.
  var saidDeadLetters: [String: Int64] = [:]
  var saidRetries: [String: Int64] = [:]
  var saidLack = false

  init(client: RedisClient, layout: QueueLayout, limits: QueueLimits) {
    self.client = client
    self.layout = layout
    admission = Admission(limits: limits)
  }

  func take(_ reading: QueueReading, _ now: NIODeadline, reached: Int) {
    admission.read(reading, at: now, reachedHigh: reached > self.reached)
    self.reached = reached
    self.reading = reading
    readAt = now
  }
}
