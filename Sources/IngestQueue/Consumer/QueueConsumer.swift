// The worker's side of the queue: claim, extend, settle, reap. What is atomic is in the scripts; here is when they run,
// and the one thing that must be repeated: settling, which goes on until Redis has answered or the lease is over.
//
// Claiming may be repeated as well, and needs no care: a claim whose answer was lost is still in its slot, under this instance,
// and the next claim into that slot hands it out again.

internal import Bytes
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
  public static func newInstance() -> String { UInt64.random(in: 0...UInt64.max).hexDigits() }

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
    let script = ClaimScript(
      layout: layout, worker: worker, slot: slot, instance: instance, number: number, lease: limits.lease,
      envelopes: min(limits.envelopes, limit), bytes: size.bytes, largestEnvelope: limits.largestEnvelope,
      suspects: takesSuspects ? limits.suspects : 0, deaths: limits.deaths,
      begins: !hasBegun.load(ordering: .relaxed), givesUp: size.givesUp,
      ownLimits: (1...QueueLayout.ownLists).map { min(ownLimit($0) ?? limits.envelopes, limits.envelopes) })
    let reply = try await run(script, handingOut: size)
    let answered = ContinuousClock.now
    let claim =
      switch try read(script, reply) {
      case .claimed(let number, let entries):
        Claim.batch(
          ClaimedBatch(
            slot: slot, number: number, leaseEnds: answered + limits.lease,
            entries: entries.map {
              ClaimedEntry(content: Self.content($0.bytes), failures: $0.failures, list: $0.list)
            }))
      case .held(let instance, let leaseUntil):
        Claim.held(SlotHolder(worker: worker, slot: slot, instance: instance, leaseUntil: leaseUntil))
      case .supplanted(let instance): Claim.supplanted(by: instance)
      case .empty: Claim.empty
      }
    hasBegun.store(true, ordering: .relaxed)
    return claim
  }

  private func run(
    _ script: ClaimScript, handingOut size: HandOutSize.Size
  ) async throws(QueueFailure) -> RedisReply {
    let apart = size.isApart ? client.another() : nil
    defer { apart?.shutDown() }
    do throws(QueueFailure) {
      let reply = try await run(script, on: apart)
      handOut.noteAnswer(to: script.slot)
      return reply
    } catch {
      if case .away(let error) = error, case .closed = error.reason, error.outcome == .unknown {
        handOut.noteClosing(of: script.slot)
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
    let script = ExtendScript(
      layout: layout, worker: worker, slot: batch.slot, instance: instance, number: batch.number, lease: limits.lease)
    let reply = try await run(script)
    let answered = ContinuousClock.now
    let extended = try read(script, reply)
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
    let script = SettleScript(
      layout: layout, worker: worker, slot: batch.slot, instance: instance, number: batch.number,
      attempts: limits.attempts, count: batch.entries.count,
      exceptions: fates.enumerated().compactMap { index, fate in
        change(of: batch.entries[index], index, fate).map { SettleScript.Exception(index: index, change: $0) }
      })
    let backoff = Backoff()
    var generator = SystemRandomNumberGenerator()
    var failures = 0
    while true {
      do throws(QueueFailure) {
        return try await settleOnce(script, isRepeated: failures > 0)
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

  /// What settling says of an entry; nil where it is simply gone.
  private func change(of entry: ClaimedEntry, _ index: Int, _ fate: Disposition) -> SettleScript.Change? {
    switch fate {
    case .done: entry.failures > 0 ? .clear : nil
    case .putBack: .putBack(list: entry.isLarge ? ownList(of: entry, index) : 0)
    case .setAside: .putBack(list: ownList(of: entry, index))
    case .retry(let reason, let delay): .retry(reason: reason, delay: delay)
    case .postpone(let delay): .postpone(delay: delay)
    case .dead(let reason): .dead(reason: reason)
    }
  }

  private func settleOnce(_ script: SettleScript, isRepeated: Bool) async throws(QueueFailure) -> Settlement {
    let reply = try await run(script)
    return switch try read(script, reply) {
    case .settled(let dead): .settled(dead: dead)
    case .lost(let instance): .lost(to: instance)
    // Where an earlier try went unanswered, the likely reason is that it did what it should. (Or the reaper has been
    // here; then the envelopes come again, which changes nothing for what is to be done next.)
    case .gone: isRepeated ? .settled(dead: 0) : .lost(to: nil)
    }
  }

  // MARK: Reaping

  /// Puts back what is in claims whose lease has ended, of all workers.
  public func reap() async throws(QueueFailure) -> Reaping {
    let script = ReapScript(
      layout: layout, envelopes: limits.reapedAtOnce, deaths: limits.deaths, forgetAfter: limits.forgetAfter,
      lease: limits.lease)
    return try read(script, try await run(script))
  }

  /// Takes the worker off the list, unless it still has claims: the last thing that a worker does.
  public func leave() async throws(QueueFailure) {
    let script = LeaveScript(layout: layout, worker: worker, instance: instance)
    _ = try read(script, try await run(script))
  }

  // MARK: Asking

  private func run(
    _ script: some ScriptCall, on other: RedisClient? = nil
  ) async throws(QueueFailure) -> RedisReply {
    let client = other ?? client
    do {
      _ = try await client.connection(within: other == nil ? Self.connectionWait : .seconds(2)).get()
      return try await client.run(script, within: .nanoseconds(limits.deadline.milliseconds * 1_000_000)).get()
    } catch {
      throw QueueFailure(error)
    }
  }

  private func read<Script: ScriptCall>(
    _ script: Script, _ reply: RedisReply
  ) throws(QueueFailure) -> Script.Reply {
    try QueueFailure.catching { try script.read(reply) }
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
