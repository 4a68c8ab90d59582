// The worker's side of the queue: claim, extend, settle, reap. What is atomic is in the scripts; here are their arguments, their
// answers, and the one thing that must be repeated: settling, which goes on until Redis has answered or the lease is over.
//
// Claiming may be repeated as well, and needs no care: a claim whose answer was lost is still in its slot, under this instance,
// and the next claim into that slot hands it out again.

internal import Hiredis
internal import NIOCore
public import RedisClient
internal import Synchronization

/// How much a consumer takes, and how long it may keep it.
public struct ConsumerLimits: Sendable, Equatable {
  /// Envelopes in one claim.
  public var envelopes: Int
  /// Bytes in one claim; an envelope over it comes alone.
  public var bytes: Int
  /// The largest envelope that is taken at all; a larger one becomes a dead letter, because its answer would
  /// break the conversation's limits again and again. Must lie below the reply limits of the client.
  public var largestEnvelope: Int
  /// How long a claim lasts unless it is extended.
  public var lease: Duration
  /// After so many failed attempts an envelope is a dead letter.
  public var attempts: Int
  /// After so many dead workers an envelope is a dead letter.
  public var deaths: Int
  /// Envelopes that one look of the reaper moves.
  public var reapedAtOnce: Int
  /// How long a worker without claims stays on the list after it was seen last.
  public var forgetAfter: Duration
  /// For one answer of Redis.
  public var deadline: Duration

  public init(
    envelopes: Int = 500, bytes: Int = 8 << 20, largestEnvelope: Int = 66 << 20, lease: Duration = .seconds(30),
    attempts: Int = 5, deaths: Int = 3, reapedAtOnce: Int = 1_000, forgetAfter: Duration = .seconds(60),
    deadline: Duration = .seconds(5)
  ) {
    self.envelopes = envelopes
    self.bytes = bytes
    self.largestEnvelope = largestEnvelope
    self.lease = lease
    self.attempts = attempts
    self.deaths = deaths
    self.reapedAtOnce = reapedAtOnce
    self.forgetAfter = forgetAfter
    self.deadline = deadline
  }

  /// How many envelopes that were in the hands of a dead worker one claim may take: the root of what a claim takes, so that
  /// finding the one that killed it takes about as many claims of a group as of single ones.
  var suspects: Int { max(Int(Double(envelopes).squareRoot()), 1) }
}

/// One worker's hold on one shard of the queue. One for each life of a worker.
public final class QueueConsumer: Sendable {
  public let worker: WorkerName
  /// Which life of the worker this is: random, so that a restarted worker can't be taken for its earlier life.
  public let instance: String
  public let limits: ConsumerLimits

  private let client: RedisClient
  private let layout: QueueLayout
  /// How long a call waits for a connection where there is none: over the blink of a reconnect, and no longer, because
  /// whoever calls wants to know that Redis is away.
  private static let connectionWait = TimeAmount.milliseconds(250)
  private let lastNumber = Atomic<Int64>(0)
  private let handOut: HandOutSize
  /// Whether Redis has answered a claim, so that the name is ours until another one comes.
  private let hasBegun = Atomic<Bool>(false)

  /// - Parameter client: Its reply limits must leave room for the largest envelope. Whoever made it shuts it down.
  public init(
    client: RedisClient, layout: QueueLayout = QueueLayout(), worker: WorkerName,
    instance: String = QueueConsumer.newInstance(), limits: ConsumerLimits = ConsumerLimits()
  ) {
    self.client = client
    self.layout = layout
    self.worker = worker
    self.instance = instance
    self.limits = limits
    handOut = HandOutSize(most: limits.bytes)
  }

  /// A name for one life of a worker, which may have a consumer for each shard.
  public static func newInstance() -> String {
    var generator = SystemRandomNumberGenerator()
    let random = String(generator.next(), radix: 16)
    return String(repeating: "0", count: 16 - random.count) + random
  }

  // MARK: Claiming

  /// Takes what is next in the queue's lists, by turns, into a slot that is free as far as the caller knows.
  /// - Parameters:
  ///   - slot: From 0 to ``QueueLayout/slots`` - 1.
  ///   - takesSuspects: Whether envelopes may be taken that were in the hands of a worker that died; they come few at a
  ///     time, with no others. Only one of a worker's lanes may, so that when it dies over one, no more suspects than
  ///     these are counted another death. Where it may, they come before all else, so a caller must not say so again and
  ///     again while others wait.
  ///   - limit: Envelopes in this claim, where that is less than the consumer's limit.
  ///   - ownLimit: Of these, the most from each list that is accounts' own, by its number; nil for no limit.
  public func claim(
    slot: Int, takesSuspects: Bool, limit: Int = .max, ownLimit: (_ list: Int) -> Int? = { _ in nil }
  ) async throws(QueueFailure) -> Claim {
    precondition((0..<QueueLayout.slots).contains(slot), "a worker has no slot \(slot)")
    let number = lastNumber.add(1, ordering: .relaxed).newValue
    let size = handOut.size(for: slot)
    let reply = try await runClaim(
      slot, size,
      keys: [
        layout.claim(worker: worker, slot: slot), layout.workers, layout.failures, layout.later, layout.dead,
        layout.deadBytes, layout.bytes,
      ] + layout.pending + [layout.stats],
      arguments: [
        "\(worker)", instance, number, limits.lease.milliseconds, min(limits.envelopes, limit), size.bytes,
        limits.largestEnvelope, takesSuspects ? limits.suspects : 0, limits.deaths,
        hasBegun.load(ordering: .relaxed) ? 0 : 1, size.givesUp ? 1 : 0,
      ] + (1...QueueLayout.ownLists).map { min(ownLimit($0) ?? limits.envelopes, limits.envelopes) })
    let answered = ContinuousClock.now
    let claim = try read(reply) { items in
      switch try items.first?.string() {
      case "empty": return Claim.empty
      case "supplanted": return .supplanted(by: try items.item(1).string())
      case "held":
        return .held(
          SlotHolder(
            worker: worker, slot: slot, instance: try items.item(1).string(),
            leaseUntil: try items.item(2).integer()))
      case "claimed":
        // Empty where nothing in the whole shard has failed.
        let failures = try items.item(4).array()
        let lists = try items.item(5).array()
        let entries = try items.item(3).array().enumerated().map { place, item in
          ClaimedEntry(
            content: Self.content(try item.bytes()),
            failures: failures.isEmpty ? 0 : Int(try failures.item(place).integer()),
            list: lists.isEmpty ? 0 : Int(try lists.item(place).integer()))
        }
        return .batch(
          ClaimedBatch(
            slot: slot, number: try items.item(1).integer(), leaseEnds: answered + limits.lease, entries: entries))
      case let other:
        throw UnexpectedReply(expected: "the outcome of a claim", came: other ?? "an empty array")
      }
    }
    hasBegun.store(true, ordering: .relaxed)
    return claim
  }

  private func runClaim(
    _ slot: Int, _ size: HandOutSize.Size, keys: [String], arguments: [any RedisArgument]
  ) async throws(QueueFailure) -> RedisReply {
    let apart = size.isApart ? client.another() : nil
    defer { apart?.shutDown() }
    do throws(QueueFailure) {
      let reply = try await run(QueueScripts.claim, keys: keys, arguments: arguments, on: apart)
      handOut.noteAnswer(to: slot)
      return reply
    } catch {
      if case .away(let error) = error, case .closed = error.reason, error.outcome == .unknown {
        handOut.noteClosing(of: slot)
      }
      throw error
    }
  }

  private static func content(_ bytes: [UInt8]) -> Result<Envelope, InvalidEnvelope> {
    do throws(InvalidEnvelope) { return .success(try Envelope(bytes)) } catch { return .failure(error) }
  }

  /// Gives the batch a lease that is counted from now.
  /// - Returns: False where others have it by now; nothing can be settled then.
  public func extendLease(of batch: inout ClaimedBatch) async throws(QueueFailure) -> Bool {
    let reply = try await run(
      QueueScripts.extend, keys: [layout.claim(worker: worker, slot: batch.slot)],
      arguments: [instance, batch.number, limits.lease.milliseconds])
    let answered = ContinuousClock.now
    let extended = try read(reply) { items in try items.item(0).string() == "extended" }
    if extended { batch.leaseEnds = answered + limits.lease }
    return extended
  }

  // MARK: Settling

  /// Everything in the batch is stored: it is gone from the queue. As ``settle(_:_:)``.
  public func acknowledge(_ batch: ClaimedBatch) async throws(QueueFailure) -> Settlement {
    try await settle(batch, Array(repeating: .done, count: batch.entries.count))
  }

  /// Nothing of the batch was stored, and that isn't the envelopes' fault. As ``settle(_:_:)``.
  public func putBack(_ batch: ClaimedBatch) async throws(QueueFailure) -> Settlement {
    try await settle(batch, Array(repeating: .putBack, count: batch.entries.count))
  }

  /// Ends a claim, in one step for all its entries. Repeated, with a growing pause, until Redis has answered or the lease
  /// is surely over. In a cancelled task only twice.
  /// - Parameters:
  ///   - fates: One for each entry, in their order.
  ///   - onRetry: Is told why it has to be repeated.
  /// - Throws: What happened last, once the lease is over. The envelopes will come again.
  public func settle(
    _ batch: ClaimedBatch, _ fates: [Disposition], onRetry: (QueueFailure) -> Void = { _ in }
  ) async throws(QueueFailure) -> Settlement {
    precondition(fates.count == batch.entries.count, "\(fates.count) fates for \(batch.entries.count) entries")
    var named: [any RedisArgument] = []
    // The last one first: each goes to the end from which is taken, so the first must get there last.
    for (place, fate) in fates.enumerated().reversed() {
      switch fate {
      case .done:
        guard batch.entries[place].failures > 0 else { continue }
        named += [place, "clear", "", 0] as [any RedisArgument]
      case .putBack:
        let list = batch.entries[place].isLarge ? ownList(of: batch.entries[place], place) : 0
        named += [place, "back", "", list] as [any RedisArgument]
      case .setAside: named += [place, "back", "", ownList(of: batch.entries[place], place)] as [any RedisArgument]
      case .retry(let reason, let delay):
        named += [place, "retry", reason, delay.milliseconds] as [any RedisArgument]
      case .postpone(let delay): named += [place, "postpone", "", delay.milliseconds] as [any RedisArgument]
      case .dead(let reason): named += [place, "dead", reason, 0] as [any RedisArgument]
      }
    }
    let backoff = Backoff()
    var generator = SystemRandomNumberGenerator()
    var failures = 0
    while true {
      do throws(QueueFailure) {
        return try await settleOnce(batch, named, isRepeated: failures > 0)
      } catch {
        failures += 1
        let pause = backoff.delay(afterFailures: failures, using: &generator)
        guard ContinuousClock.now + .nanoseconds(pause.nanoseconds) < batch.leaseEnds else { throw error }
        // A cancelled task tries twice and no longer: somebody waits for its end.
        guard !Task.isCancelled || failures == 1 else { throw error }
        onRetry(error)
        // On the event loop, where no cancellation makes it shorter.
        do {
          try await client.eventLoop.scheduleTask(in: pause) {}.futureResult.get()
        } catch {
          throw QueueFailure(error)
        }
      }
    }
  }

  /// One of the two lists that the entry's account has. Both are used: a node takes an account whose lists are both in use for one that has to keep to
  /// them.
  private func ownList(of entry: ClaimedEntry, _ place: Int) -> Int {
    guard case .success(let envelope) = entry.content else { return 0 }
    let hand = AccountShuffleShard(account: envelope.header.account)
    return place.isMultiple(of: 2) ? hand.first : hand.second
  }

  private func settleOnce(
    _ batch: ClaimedBatch, _ named: [any RedisArgument], isRepeated: Bool
  ) async throws(QueueFailure) -> Settlement {
    let reply = try await run(
      QueueScripts.settle,
      keys: [
        layout.claim(worker: worker, slot: batch.slot), layout.later, layout.dead, layout.failures, layout.stats,
        layout.deadBytes, layout.bytes,
      ] + layout.pending,
      arguments: [instance, batch.number, "\(worker)", limits.attempts] as [any RedisArgument] + named)
    return try read(reply) { items in
      switch try items.first?.string() {
      case "settled":
        let dead = try items.item(1).integer()
        guard (0...Int64(batch.entries.count)).contains(dead) else {
          throw UnexpectedReply(expected: "how many of the batch are dead letters", came: "the number \(dead)")
        }
        return .settled(dead: Int(dead))
      case "lost":
        let instance = try items.item(1).string()
        return .lost(to: instance.isEmpty ? nil : instance)
      // Where an earlier try went unanswered, the likely reason is that it did what it should. (Or the reaper has been
      // here; then the envelopes come again, which changes nothing for what is to be done next.)
      case "gone": return isRepeated ? .settled(dead: 0) : .lost(to: nil)
      case let other:
        throw UnexpectedReply(expected: "the outcome of settling a claim", came: other ?? "an empty array")
      }
    }
  }

  // MARK: Reaping

  /// Puts back what is in claims whose lease has ended, of all workers.
  public func reap() async throws(QueueFailure) -> Reaping {
    let reply = try await run(
      QueueScripts.reap,
      keys: [
        layout.workers, layout.pending(0), layout.dead, layout.failures, layout.deadBytes, layout.bytes, layout.later,
        layout.stats, layout.pending(QueueLayout.suspects),
      ],
      arguments: [
        layout.claimPrefix, limits.reapedAtOnce, limits.deaths, QueueLayout.slots, limits.forgetAfter.milliseconds,
        limits.lease.milliseconds, QueueLayout.suspects,
      ])
    return try read(reply) { items in
      var reaping = Reaping()
      reaping.putBack = Int(try items.item(0).integer())
      reaping.dead = Int(try items.item(1).integer())
      reaping.claims = Int(try items.item(2).integer())
      reaping.isUnfinished = try items.item(3).integer() == 1
      reaping.forgotten = Int(try items.item(4).integer())
      reaping.strange = try items.item(5).array().map { try $0.string() }
      return reaping
    }
  }

  /// Takes the worker off the list, unless it still has claims: the last thing that a worker does.
  public func leave() async throws(QueueFailure) {
    let reply = try await run(
      QueueScripts.leave, keys: [layout.workers],
      arguments: [layout.claimPrefix, "\(worker)", instance, QueueLayout.slots])
    _ = try QueueFailure.catching { try reply.integer() }
  }

  // MARK: Asking

  private func run(
    _ script: RedisScript, keys: [String], arguments: [any RedisArgument], on other: RedisClient? = nil
  ) async throws(QueueFailure) -> RedisReply {
    let client = other ?? client
    do {
      _ = try await client.connection(within: other == nil ? Self.connectionWait : .seconds(2)).get()
      return try await client.run(
        script, keys: keys, arguments: arguments, within: .nanoseconds(limits.deadline.milliseconds * 1_000_000)
      ).get()
    } catch {
      throw QueueFailure(error)
    }
  }

  private func read<Value>(
    _ reply: RedisReply, _ body: ([RedisReply]) throws -> Value
  ) throws(QueueFailure) -> Value {
    try QueueFailure.catching { try body(reply.array()) }
  }
}

extension QueueFailure {
  init(_ error: any Error) {
    switch error {
    case let error as RedisError: self = .away(error)
    case let error as RedisServerError: self = .refused(error)
    case let error as UnexpectedReply: self = .unexpected(error)
    // Nothing else is thrown by the client or by a reply's readers; should that change, it is still no answer.
    default: self = .away(RedisError(.closed("\(error)"), outcome: .unknown))
    }
  }

  static func catching<Value>(_ body: () throws -> Value) throws(QueueFailure) -> Value {
    do { return try body() } catch { throw QueueFailure(error) }
  }
}

extension [RedisReply] {
  /// The item at a place, which may be missing: whoever answers may not be what we think.
  func item(_ place: Int) throws(UnexpectedReply) -> RedisReply {
    guard indices.contains(place) else {
      throw UnexpectedReply(expected: "at least \(place + 1) items", came: "an array of \(count)")
    }
    return self[place]
  }
}

extension Duration {
  /// Rounded down.
  var milliseconds: Int64 {
    components.seconds * 1_000 + components.attoseconds / 1_000_000_000_000_000
  }
}
