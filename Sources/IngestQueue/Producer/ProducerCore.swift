// The path of one payload. `submit` checks whether the shard that has the turn accepts payloads, and encodes the
// payload into the gathering batch. `flush`, once per turn of the event loop, sends batches to shards whose in-flight
// limit isn't reached; shards take turns. `complete` gives each list's reply to that list's waiters.
//
// A waiter is an object with a method that is called, not a promise: a promise, its future and their closures are five
// allocations for each payload, and cost more than encoding the payload.

internal import Hiredis
internal import NIOCore
internal import RedisClient

/// The state of a producer. Used on the producer's event loop only.
final class ProducerCore {
  private let eventLoop: any EventLoop
  private let limits: ProducerLimits
  private let lanes: [ShardLane]
  /// Whether the payloads were acknowledged before. Then they must be pushed, even if their account has reached a
  /// limit.
  private let areAcknowledged: Bool
  /// The index of the lane that gets the next batch if it can take one.
  private var turn = 0
  private var batches: PushBatches<any EnqueueCompletion>
  private var senders = HeavySenders()
  private var hugePayloadTime = HugePayloadTime()
  private var counters = ProducerCounters()
  private var willFlush = false
  private var draining: EventLoopPromise<Void>?

  init(eventLoop: any EventLoop, lanes: [ShardLane], limits: ProducerLimits, areAcknowledged: Bool) {
    self.areAcknowledged = areAcknowledged
    self.eventLoop = eventLoop
    self.lanes = lanes
    self.limits = limits
    batches = PushBatches(limits: limits)
  }

  var currentCounters: ProducerCounters {
    var counters = counters
    counters.waitingEntries = batches.waitingEntries
    counters.bytes = batches.bytes
    counters.connectedShards = lanes.count { $0.isConnected }
    return counters
  }

  func learn(_ word: ShardUpdate, of shard: Int) {
    lanes[shard].learn(word)
    flushAtTheTurnsEnd()
  }

  // MARK: Accepting payloads

  /// Accepts a payload.
  /// - Parameter line: The payload's header, already encoded.
  /// - Returns: Why the payload isn't accepted; nil if it is. Only then is the waiter called.
  func submit(line: ByteBuffer, account: String, payload: ByteBuffer, waiter: any EnqueueCompletion) -> EnqueueError? {
    do throws(EnqueueError) {
      guard draining == nil else { throw .shuttingDown }
      if !lanes[turn].takes, let obstacle = moveTurn() { throw obstacle }
      let size = line.readableBytes + payload.readableBytes
      if size > EnqueueError.alwaysTakenBytes, let limit = lanes[turn].payloadLimit.exceeded(by: size, now: .now()) {
        throw .tooLarge(bytes: payload.readableBytes, limit: limit - line.readableBytes)
      }
      let list = try list(of: account, bytes: payload.readableBytes)
      if payload.readableBytes <= limits.bytesPerBatch {
        try batches.add(line: line, payload: payload, list: list, waiter: waiter, now: .now())
      } else {
        try addHuge(
          line: line, account: AccountShuffleShard.hash(of: account), payload: payload, list: list, waiter: waiter)
      }
    } catch {
      counters.failures += 1
      return error
    }
    flushAtTheTurnsEnd()
    return nil
  }

  /// Adds a payload that is sent alone, if Redis's memory has room for it.
  private func addHuge(
    line: ByteBuffer, account: UInt64, payload: ByteBuffer, list: Int, waiter: any EnqueueCompletion
  ) throws(EnqueueError) {
    if !areAcknowledged, let wait = hugePayloadTime.wait(of: account, at: .now()) {
      throw .accountSlowsRedis(retryAfter: wait)
    }
    // There will soon be a new reading, or another huge payload will be finished.
    guard let huge = lanes[turn].begin(huge: line.readableBytes + payload.readableBytes) else {
      throw .overLimit(retryAfter: Int.random(in: 1...5))
    }
    do {
      try batches.add(line: line, payload: payload, list: list, waiter: waiter, now: .now())
    } catch {
      huge.end()
      throw error
    }
    batches.keepAccount(huge, of: account)
  }

  /// Accepts a payload. The future has the payload's outcome.
  func submit(_ header: EnvelopeHeader, payload: ByteBuffer) -> EventLoopFuture<Void> {
    var line = ByteBuffer()
    header.write(to: &line)
    let promise = eventLoop.makePromise(of: Void.self)
    if let failure = submit(
      line: line, account: header.account, payload: payload, waiter: PromisedPush(promise: promise))
    {
      promise.fail(failure)
    }
    return promise.futureResult
  }

  /// - Throws: If the shard's remaining room is reserved for other accounts or for new payloads, or if the account has
  ///   too many dead letters or retries there.
  private func list(of account: String, bytes: Int) throws(EnqueueError) -> Int {
    let lane = lanes[turn]
    guard lane.isWatched else { return 0 }
    let hash = AccountShuffleShard.hash(of: account)
    if !areAcknowledged, let limit = lane.limit(of: hash) { throw limit }
    let (manyPayloads, manyBytes) = senders.note(hash, bytes: bytes)
    if manyPayloads || manyBytes,
      lane.isReserved(against: hash, after: batches.bytes + bytes, ofOldPayloads: areAcknowledged)
    {
      throw .accountOverLimit(retryAfter: lane.retryAfter)
    }
    return lane.list(of: hash, sendsMuch: manyPayloads, sendsManyBytes: manyBytes, bytes: bytes)
  }

  /// Moves the turn to the next lane that accepts payloads, or returns why none does.
  private func moveTurn() -> EnqueueError? {
    for _ in lanes.indices {
      if lanes[turn].takes { return nil }
      turn = (turn + 1) % lanes.count
    }
    return obstacle
  }

  /// The most useful of several lanes' reasons: one with the time when the problem will be over, or one that needs an
  /// operator.
  var obstacle: EnqueueError? {
    var away: EnqueueError?
    var over: EnqueueError?
    var lost: EnqueueError?
    for lane in lanes {
      switch lane.obstacle {
      case nil: return nil
      case .overLimit(let seconds)?:
        // The client may come back when the first shard opens again.
        if case .overLimit(let least)? = over, least <= seconds { continue }
        over = .overLimit(retryAfter: seconds)
      case .durabilityLost(let why)?: lost = .durabilityLost(why)
      case let other?: away = other
      }
    }
    return lost ?? over ?? away
  }

  func drain() -> EventLoopFuture<Void> {
    let promise = draining ?? eventLoop.makePromise()
    draining = promise
    completeDrainIfEmpty()
    return promise.futureResult
  }

  private func completeDrainIfEmpty() {
    guard batches.isEmpty, let draining else { return }
    // For an unreachable shard this completes at once.
    EventLoopFuture.andAllSucceed(lanes.map { $0.tellPushedBytes() }, on: eventLoop).cascade(to: draining)
  }

  // MARK: Sending

  private func flushAtTheTurnsEnd() {
    guard !willFlush else { return }
    willFlush = true
    eventLoop.assumeIsolated().execute {
      self.willFlush = false
      self.flush()
    }
  }

  private func flush() {
    while batches.waitingEntries > 0, handOut() {}
    if batches.waitingEntries > 0, let obstacle {
      for batch in batches.takeAll() { fail(batch, obstacle) }
    }
    completeDrainIfEmpty()
  }

  /// Processes one batch if a lane is free for it.
  private func handOut() -> Bool {
    for step in lanes.indices {
      let place = (turn + step) % lanes.count
      let lane = lanes[place]
      guard
        let connection = lane.freeConnection(
          most: limits.batchesInFlight, asking: limits.deadline, changed: { self.flushAtTheTurnsEnd() }),
        let next = batches.next(for: lane.destination, now: .now(), huge: lane.takesHuge)
      else { continue }
      switch next {
      case .send(let batch, let commands):
        turn = (place + 1) % lanes.count
        send(batch, commands, lane, connection)
      case .late(let batch):
        fail(batch, .away(RedisError(.deadlineExceeded(command: "LPUSH"), outcome: .notSent)))
      }
      return true
    }
    return false
  }

  private func send(
    _ batch: PushBatch<any EnqueueCompletion>, _ commands: ByteBuffer, _ lane: ShardLane, _ connection: RedisConnection
  ) {
    lane.sends(huge: batch.isHuge)
    counters.batches += 1
    counters.commands += batch.parts.count
    let replies = lane.destination.replies(to: batch)
    let answer =
      batch.isHuge && lane.sendsHugeApart
      ? Self.sendApart(commands, expecting: replies, deadline: batch.deadline, lane.client.another())
      : lane.client.send(
        encoded: commands, named: "LPUSH", expecting: replies, deadline: batch.deadline, on: connection,
        isBoundToServer: lane.isBoundToServer)
    let sent = NIODeadline.now()
    answer.assumeIsolated().whenComplete { result in
      if let account = batch.hugeAccount {
        let now = NIODeadline.now()
        self.hugePayloadTime.charge(account, now - sent, at: now)
      }
      lane.hasAnswered(huge: batch.isHuge)
      switch result {
      case .success(let replies): self.complete(batch, replies, lane)
      case .failure(let error): self.notAnswered(batch, error, lane)
      }
      self.flushAtTheTurnsEnd()
    }
  }

  private static func sendApart(
    _ commands: ByteBuffer, expecting replies: Int, deadline: NIODeadline, _ client: RedisClient
  ) -> EventLoopFuture<[RedisReply]> {
    client.connection(within: deadline - .now()).flatMap { _ in
      client.send(encoded: commands, named: "LPUSH", expecting: replies, deadline: deadline)
    }.always { _ in client.shutDown() }
  }

  private func notAnswered(_ batch: PushBatch<any EnqueueCompletion>, _ error: any Error, _ lane: ShardLane) {
    let error = error as? RedisError ?? RedisError(.closed("\(error)"), outcome: .unknown)
    guard error.outcome == .notSent else {
      batches.finished(batch)
      for part in batch.parts { lane.mayHaveTaken(part.bytes, list: part.list, isHuge: batch.huge != nil) }
      let failure = EnqueueError.unknownOutcome(error)
      if failure.mayBeTooLargeForServer(bytes: batch.largest) {
        lane.payloadLimit.closed(with: batch.largest, now: .now())
      }
      return fail(batch, failure)
    }
    if batch.returns + 1 < lanes.count {
      counters.movedBatches += 1
      batches.putBack(batch)
    } else {
      batches.finished(batch)
      fail(batch, .away(error))
    }
  }

  // MARK: Replies

  private func complete(
    _ batch: PushBatch<any EnqueueCompletion>, _ replies: [RedisReply], _ lane: ShardLane
  ) {
    batches.finished(batch)
    batch.huge?.end()
    var unconfirmed: EnqueueError?
    if let required = lane.destination.confirmingReplicas {
      unconfirmed = shortfall(replies.last, lane, required: required)
    }
    if batch.largest > EnqueueError.alwaysTakenBytes, replies.first?.isNumber ?? false {
      lane.payloadLimit.took(batch.largest)
    }
    for (part, reply) in zip(batch.parts, replies) {
      switch reply {
      case .integer(let length) where (1...Int64.mostCounted).contains(length):
        lane.heard(length, of: part.list, after: part.bytes, isHuge: batch.huge != nil)
        if let unconfirmed {
          fail(part, unconfirmed)
          continue
        }
        counters.entries += part.waiters.count
        for waiter in part.waiters { waiter.pushed(nil) }
      case .error(let error):
        let failure = EnqueueError.refused(error)
        guard failure.isTooLargeForServer(bytes: batch.largest) else {
          fail(part, failure)
          continue
        }
        lane.payloadLimit.refused(batch.largest, now: .now())
        // Other entries of the same command may be small enough.
        fail(part, batch.entries == 1 ? .tooLarge(bytes: batch.largest, limit: batch.largest - 1) : failure)
      default:
        fail(part, Self.strange(reply, "the list's length from LPUSH"))
      }
    }
  }

  /// Why the replicas' confirmation isn't sufficient; nil if it is.
  private func shortfall(_ reply: RedisReply?, _ lane: ShardLane, required: Int) -> EnqueueError? {
    guard case .integer(let replicas)? = reply else { return Self.strange(reply, "a number of replicas from WAIT") }
    if replicas >= required { return nil }
    lane.wasUnconfirmed(replicas)
    return .unconfirmed(replicas: replicas, required: required)
  }

  private static func strange(_ reply: RedisReply?, _ expected: String) -> EnqueueError {
    .unknownOutcome(
      RedisError(.closed("expected \(expected), got \(reply?.shape ?? "nothing")"), outcome: .unknown))
  }

  private func fail(_ batch: PushBatch<any EnqueueCompletion>, _ failure: EnqueueError) {
    batch.huge?.end()
    for part in batch.parts { fail(part, failure) }
  }

  private func fail(_ part: PushPart<any EnqueueCompletion>, _ failure: EnqueueError) {
    counters.failures += part.waiters.count
    for waiter in part.waiters { waiter.pushed(failure) }
  }
}

extension RedisReply {
  fileprivate var isNumber: Bool { if case .integer = self { true } else { false } }
}

/// A completion for callers that want a future.
private final class PromisedPush: EnqueueCompletion {
  private let promise: EventLoopPromise<Void>

  init(promise: EventLoopPromise<Void>) { self.promise = promise }

  func pushed(_ failure: EnqueueError?) {
    if let failure { promise.fail(failure) } else { promise.succeed() }
  }
}
