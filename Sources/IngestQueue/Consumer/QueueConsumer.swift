// The worker's side of the queue: claim, extend, settle, reap. The scripts contain the atomic steps. This type decides
// when they run, and repeats settling until Redis has answered or the lease is over.
//
// Claiming may be repeated without care: a claim whose reply was lost is still in its slot, under this instance, and
// the next claim into that slot hands it out again.

internal import Bytes
internal import Hiredis
internal import NIOCore
public import RedisClient
internal import Synchronization

/// How much a consumer claims, and for how long.
public struct ConsumerLimits: Sendable, Equatable {
  /// Maximum envelopes of one claim.
  public var envelopes: Int
  /// Maximum bytes of one claim. A larger envelope is claimed alone.
  public var bytes: Int
  /// The largest envelope that is accepted at all. A larger one becomes a dead letter, because its reply would exceed
  /// the connection's limits again and again. Must be lower than the reply limits of the client.
  public var largestEnvelope: Int
  /// How long a claim lasts unless it is extended.
  public var lease: Duration
  /// After this number of failed attempts an envelope is a dead letter.
  public var attempts: Int
  /// After this number of dead workers an envelope is a dead letter.
  public var deaths: Int
  /// Maximum envelopes that one run of the reaper moves.
  public var reapedAtOnce: Int
  /// How long a worker without claims stays on the list after it was last seen.
  public var forgetAfter: Duration
  /// Maximum wait for one reply of Redis.
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

  /// Maximum suspects (envelopes that a worker had when it died) in one claim: the square root of the usual number.
  /// Finding the one that killed the worker then takes about as many claims of groups as of single envelopes.
  var suspects: Int { max(Int(Double(envelopes).squareRoot()), 1) }
}

/// One worker's access to one shard of the queue. Each start of a worker has one.
public final class QueueConsumer: Sendable {
  public let worker: WorkerName
  /// Identifies this start of the worker: random, so that a restarted worker can't be taken for its earlier process.
  public let instance: String
  public let limits: ConsumerLimits

  private let client: RedisClient
  private let layout: QueueLayout
  /// How long a call waits if there is no connection: long enough for a quick reconnect, and no longer, because the
  /// caller needs to know that Redis is unreachable.
  private static let connectionWait = TimeAmount.milliseconds(250)
  private let lastNumber = Atomic<Int64>(0)
  private let handOut: HandOutSize
  /// Whether Redis has answered a claim. From then on the name is this instance's until another instance uses it.
  private let hasBegun = Atomic<Bool>(false)

  /// - Parameter client: Its reply limits must leave room for the largest envelope. The caller shuts it down.
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

  /// An instance name for one start of a worker, which may have a consumer for each shard.
  public static func newInstance() -> String { UInt64.random(in: 0...UInt64.max).hexDigits() }

  // MARK: Claiming

  /// Claims the next envelopes into a slot, the place for one of the worker's claims. The caller must believe that the
  /// slot is free. The queue's lists take turns.
  /// - Parameters:
  ///   - slot: From 0 to ``QueueLayout/slots`` - 1.
  ///   - takesSuspects: Whether suspects may be claimed: envelopes that a worker had when it died. They are claimed a
  ///     few at a time, without other envelopes. Only one lane of a worker may pass true. If a suspect kills the
  ///     worker, only the few suspects of that lane's claim count one more death. Suspects are claimed before all other
  ///     envelopes, so a caller must not always pass true while others wait.
  ///   - turns: The turns of accounts among the suspects.
  ///   - limit: Maximum envelopes of this claim, if lower than the consumer's limit.
  ///   - ownLimit: Maximum envelopes from each of the accounts' own lists, by the list's number; nil for no limit.
  public func claim(
    slot: Int, takesSuspects: Bool, turns: SuspectTurns = SuspectTurns(), limit: Int = .max,
    ownLimit: (_ list: Int) -> Int? = { _ in nil }
  ) async throws(QueueFailure) -> Claim {
    precondition((0..<QueueLayout.slots).contains(slot), "a worker has no slot \(slot)")
    let number = lastNumber.add(1, ordering: .relaxed).newValue
    let size = handOut.size(for: slot)
    let script = ClaimScript(
      layout: layout, worker: worker, slot: slot, instance: instance, number: number, lease: limits.lease,
      envelopes: min(limits.envelopes, limit), bytes: size.bytes, largestEnvelope: limits.largestEnvelope,
      suspects: takesSuspects ? limits.suspects : 0, deaths: limits.deaths,
      begins: !hasBegun.load(ordering: .relaxed), givesUp: size.givesUp,
      ownLimits: (1...QueueLayout.ownLists).map { min(ownLimit($0) ?? limits.envelopes, limits.envelopes) },
      passedOver: takesSuspects ? turns.passedOver : [], apart: takesSuspects ? turns.apart : [])
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
      case .passedOver(let count, let waiting): Claim.passedOver(count, waiting: waiting)
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

  /// Extends the batch's lease, counted from now.
  /// - Returns: False if another instance has the claim by now; nothing can be settled then.
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

  /// Everything in the batch is stored, and is removed from the queue. Otherwise the same as ``settle(_:_:)``.
  public func acknowledge(_ batch: ClaimedBatch) async throws(QueueFailure) -> Settlement {
    try await settle(batch, Array(repeating: .done, count: batch.entries.count))
  }

  /// Nothing of the batch was stored, and that doesn't count as a failure. Otherwise the same as ``settle(_:_:)``.
  public func putBack(_ batch: ClaimedBatch) async throws(QueueFailure) -> Settlement {
    try await settle(batch, Array(repeating: .putBack, count: batch.entries.count))
  }

  /// Ends a claim, in one step for all its entries. Tries again, with a growing pause, until Redis has answered or the
  /// lease is certainly over. A cancelled task tries only twice.
  /// - Parameters:
  ///   - fates: One for each entry, in their order.
  ///   - onRetry: Called with the reason before each further try.
  /// - Throws: The last error, once the lease is over. The envelopes will be delivered again.
  public func settle(
    _ batch: ClaimedBatch, _ fates: [Disposition], onRetry: (QueueFailure) -> Void = { _ in }
  ) async throws(QueueFailure) -> Settlement {
    precondition(
      fates.count == batch.entries.count, "expected \(batch.entries.count) fates, got \(fates.count)")
    let script = SettleScript(
      layout: layout, worker: worker, slot: batch.slot, instance: instance, number: batch.number,
      attempts: limits.attempts, count: batch.entries.count,
      exceptions: fates.enumerated().compactMap { index, fate in
        change(of: batch.entries[index], fate).map { SettleScript.Exception(index: index, change: $0) }
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
        // A cancelled task tries only twice, because the shutdown waits for its end.
        guard !Task.isCancelled || failures == 1 else { throw error }
        onRetry(error)
        // The pause runs on the event loop, where a cancellation doesn't shorten it.
        do {
          try await client.eventLoop.scheduleTask(in: pause) {}.futureResult.get()
        } catch {
          throw QueueFailure(error)
        }
      }
    }
  }

  /// The lists of the entry's account; nil for an entry that can't be read.
  private func ownLists(of entry: ClaimedEntry) -> AccountShuffleShard? {
    guard case .success(let envelope) = entry.content else { return nil }
    return AccountShuffleShard(account: envelope.header.account)
  }

  /// The change that the script makes to an entry; nil if it is simply removed.
  private func change(of entry: ClaimedEntry, _ fate: Disposition) -> SettleScript.Change? {
    switch fate {
    case .done: entry.failures > 0 ? .clear : nil
    case .putBack: .putBack(entry.isLarge ? ownLists(of: entry) : nil)
    case .setAside: ownLists(of: entry).map(SettleScript.Change.setAside) ?? .putBack(nil)
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
    // If an earlier try got no reply, it probably succeeded. (Or the reaper has moved the claim. Then the envelopes are
    // delivered again, which changes nothing for the caller.)
    case .gone: isRepeated ? .settled(dead: 0) : .lost(to: nil)
    }
  }

  // MARK: Reaping

  /// Ends all workers' claims whose lease has ended, and moves their envelopes back to the queue. After too many deaths
  /// an envelope becomes a dead letter.
  public func reap() async throws(QueueFailure) -> Reaping {
    let script = ReapScript(
      layout: layout, envelopes: limits.reapedAtOnce, deaths: limits.deaths, forgetAfter: limits.forgetAfter,
      lease: limits.lease)
    return try read(script, try await run(script))
  }

  /// A worker's last action: removes the worker from the list of workers, unless it still has claims.
  public func leave() async throws(QueueFailure) {
    let script = LeaveScript(layout: layout, worker: worker, instance: instance)
    _ = try read(script, try await run(script))
  }

  // MARK: Running scripts

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
    // The client and a reply's readers throw no other errors. If that changes, there is still no answer.
    default: self = .away(RedisError(.closed("\(error)"), outcome: .unknown))
    }
  }

  static func catching<Value>(_ body: () throws -> Value) throws(QueueFailure) -> Value {
    do { return try body() } catch { throw QueueFailure(error) }
  }
}

extension [RedisReply] {
  /// The item at an index. It may be missing, because the server may not be a real Redis.
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
