// One lane of a worker: claim, decode, store, settle, repeat. A worker has several lanes, so that while one waits for
// the disk another talks to Redis. So no lane claims its next batch in advance.
//
// Each lane has some of the worker's slots, at least two. It uses one at a time, or two while it tries other payloads
// beside a batch. After a restart some slots may still hold claims of the worker's earlier process. The lane then works
// with the other slots at once, instead of waiting for those leases to end.
//
// If the whole sink fails, the payloads aren't the cause: the lane keeps its batch, retries with a growing pause, and
// counts no attempt. An attempt is counted only if a payload fails alone. After the maximum of attempts it becomes a
// dead letter.
//
// But the sink may reject all payloads of a batch because of the payloads. So while a batch fails, or takes long, the
// lane also tries a few other envelopes, in another slot. If the sink accepts some of these, it works, and its results
// for the batch show which payloads are at fault. If these fail too, they are postponed, so that others are tried next
// time. Rejected: returning the batch instead of keeping it. While a sink is down, that would postpone the whole queue,
// batch by batch.
//
// One lane also tries suspects: payloads that a worker had when it died. It has as much time for them as for all other
// payloads. Their accounts take turns (`SuspectTurns`). Suspects that the sink doesn't accept are returned after one
// try and not kept, because suspects of other accounts wait behind them, and no other lane tries these.

internal import Fleet
internal import IngestQueue
internal import KeyReplica
internal import Logging
internal import NIOCore
internal import RedisClient
internal import ServiceLifecycle

/// The state that the lanes of a worker share in one shard.
struct LaneSurroundings: Sendable {
  let shard: Int
  /// How many lanes the worker has in this shard.
  let lanes: Int
  let consumer: QueueConsumer
  let sink: any Sink
  let decoding: BodyDecoding
  let retry: Backoff
  /// Nil if payloads are stored even if their keys were revoked.
  let revoked: RevokedKeys?
  let held: HeldBatches
  let room: WorkerRoom
  let progress: WorkerProgress
  let logger: Logger
}

struct ClaimLoop: Sendable {
  /// The lane's number, from 0 in each shard.
  let number: Int
  let surroundings: LaneSurroundings
  private let suspects = LaneSuspects()

  /// Maximum lanes of a worker in one shard: each has at least two slots.
  static let most = QueueLayout.slots / 2

  /// Identifies a lane of a worker in its progress.
  struct ID: Hashable, Sendable {
    let shard: Int
    let number: Int
  }

  private var id: ID { ID(shard: surroundings.shard, number: number) }

  private var consumer: QueueConsumer { surroundings.consumer }
  private var progress: WorkerProgress { surroundings.progress }
  private var logger: Logger { surroundings.logger }

  /// Works until the worker should end.
  /// - Throws: ``WorkerNameTaken``, when it can't continue.
  func run() async throws(WorkerNameTaken) {
    var slots = Array(stride(from: number, to: QueueLayout.slots, by: surroundings.lanes))
    var heldInARow = 0
    var pace = PollPace()
    var size = ClaimSize(most: consumer.limits.envelopes)
    var failures = 0
    var holders: [Int: SlotHolder] = [:]
    // By how much the lane has spent more time on suspects than on other payloads since both have been waiting. A claim
    // that may take suspects takes them first, so it takes none while they are ahead.
    var suspectsLead = Duration.zero
    while !isEnding {
      let claim: Claim
      let takesSuspects = mayTakeSuspects && suspectsLead <= .zero
      do throws(QueueFailure) {
        claim = try await self.claim(slot: slots[0], takesSuspects: takesSuspects, limit: .max, size.limit)
      } catch {
        failures += 1
        if progress.isInTrouble(lane: id, "\(error)") { log(error, "claiming payloads") }
        await pause(Backoff().delay(afterFailures: failures))
        continue
      }
      failures = 0
      _ = progress.isFine(lane: id)
      if case .held = claim { heldInARow += 1 } else { heldInARow = 0 }
      switch claim {
      case .batch(let batch):
        pace.reset()
        let begun = ContinuousClock.now
        let work = await process(batch, spareSlots: Array(slots.dropFirst()))
        size.note(batch.entries, work.fates)
        let time = ContinuousClock.now - begun
        if batch.areSuspects {
          suspectsLead += time
        } else {
          // If the claim could have brought suspects, none wait, and this time isn't owed to later ones.
          suspectsLead = suspectsLead > .zero ? suspectsLead - time : .zero
        }
      case .empty where suspectsLead > .zero: suspectsLead = .zero
      // Only if the worker should end.
      case .passedOver: break
      case .empty:
        suspectsLead = .zero
        progress.foundNothing(lane: id)
        await pause(pace.afterEmpty())
      case .held(let holder):
        if holders.updateValue(holder, forKey: holder.slot) != holder {
          logger.warning("\(holder)", metadata: ["lease_until": "\(holder.leaseUntil)"])
          progress.wentWrong("\(holder)", shard: surroundings.shard)
        }
        slots.append(slots.removeFirst())
        if heldInARow.isMultiple(of: slots.count) { await pause(pace.afterEmpty()) }
      case .supplanted(let instance):
        throw WorkerNameTaken(worker: consumer.worker, by: instance)
      }
    }
  }

  /// Logs an error, except that Redis is unreachable: the client itself logs that, and the reconnect, once.
  private func log(_ error: QueueFailure, _ what: String) {
    if case .away = error { return }
    logger.error("\(what) failed; retrying", metadata: ["reason": "\(error)"])
  }

  private var isEnding: Bool { Task.isCancelled || Task.isShuttingDownGracefully }

  /// Waits for this time, or until the worker should end.
  private func pause(_ duration: Duration) async {
    do {
      try await cancelWhenGracefulShutdown { try await Task.sleep(for: duration) }
    } catch {
      // Cancelled: the caller checks whether the worker should end.
    }
  }

  // MARK: One batch

  private func process(_ batch: ClaimedBatch, spareSlots: [Int]) async -> BatchWork {
    var work = BatchWork(batch, decoding: surroundings.decoding)
    let proofs = await begin(batch)
    defer { surroundings.held.release(batch) }
    // A piece that the sink doesn't accept delays no other piece of the batch: each piece is given to the sink once
    // before any is given again.
    var isAgain = false
    let begun = ContinuousClock.now
    giving: repeat {
      // A batch that was claimed while the worker was told to end isn't started.
      while !isEnding, work.asksToWait == nil, let piece = await nextPiece(&work, proofs, surroundings.room.batches) {
        let probing = Probing(
          slots: spareSlots, accounts: batch.accounts, takesSuspects: mayTakeSuspects && !batch.areSuspects)
        let keeps = !batch.areSuspects && (isAgain || work.isLastPiece)
        let stored = await store(piece.deliveries, of: batch, probing, tries: keeps ? .max : 1)
        surroundings.room.batches.giveBack(piece.room)
        switch stored {
        case .outcomes(let outcomes): note(outcomes, of: piece, in: &work)
        case .notTaken: work.putOff(piece)
        case .givenUp: break giving
        }
      }
      isAgain = true
    } while !isEnding && !batch.areSuspects
      && work.takeUpDeferred { surroundings.retry.delay(afterFailures: $0 + 1) }
    let areRejected = batch.areSuspects && work.setAsideDeferred()
    await settle(work)
    // The sink is probably down. Without a pause all suspects would be tried again and again.
    if areRejected, work.stored + work.duplicates == 0 { await pause(Self.pauseAfterSuspects) }
    await pauseAfter(work)
    suspects.note(batch, since: begun)
    return work
  }

  /// - Returns: The proofs of revoked keys in the batch, if their payloads are to be discarded.
  private func begin(_ batch: ClaimedBatch) async -> [String: Proof] {
    surroundings.held.hold(batch)
    progress.claimed(batch.entries.count, lane: id)
    return await proofs(for: batch)
  }

  private func nextPiece(
    _ work: inout BatchWork, _ proofs: [String: Proof], _ room: DecodingRoom
  ) async -> BatchWork.Piece? {
    await work.nextPiece(surroundings.decoding, discarding: proofs, in: room)
  }

  private func note(_ outcomes: [SinkOutcome], of piece: BatchWork.Piece, in work: inout BatchWork) {
    let trouble = work.note(outcomes, of: piece) { surroundings.retry.delay(afterFailures: $0 + 1) }
    if let trouble { progress.wentWrong(trouble, shard: surroundings.shard) }
  }

  /// Pauses after a sink left payloads untried: it is overloaded.
  private func pauseAfter(_ work: BatchWork) async {
    guard let asked = work.asksToWait else { return }
    // If the sink accepted other payloads it works, and the requested pause is meant for the payloads that it didn't
    // accept.
    await pause(work.stored > 0 ? .milliseconds(250) : max(min(asked, Self.longestPause), .milliseconds(250)))
  }

  /// The proofs of revoked keys in the batch, if their payloads are to be discarded.
  private func proofs(for batch: ClaimedBatch) async -> [String: Proof] {
    guard let revoked = surroundings.revoked else { return [:] }
    let keys = batch.entries.compactMap { entry in
      if case .success(let envelope) = entry.content { envelope.header.key } else { nil }
    }
    let proofs = await revoked.proofs(for: Set(keys))
    for (key, proof) in proofs {
      logger.notice(
        "discarding payloads of a revoked key",
        metadata: [
          "payloads": "\(keys.count { $0 == key })", "key": "\(key.prefix(16))", "epoch": "\(proof.epoch)",
          "version": "\(proof.version)",
        ])
    }
    return proofs
  }

  // MARK: Storing

  /// Maximum pause that a sink can ask for. A receiver may mean only one account's payloads, but this lane may have
  /// only those; other accounts' payloads must be tried.
  private static let longestPause = Duration.seconds(10)
  /// If a batch has fewer accounts than this, these accounts may be the reason that it failed or takes long.
  private static let fewAccounts = 4
  /// With more accounts than this, the lane doesn't look for other accounts' payloads, even if only these accounts
  /// delay the batch.
  private static let mostNarrowed = 32
  /// Maximum claims while looking for other accounts' payloads. Large payloads are claimed one by one.
  private static let mostClaims = 64
  /// Maximum bytes of large claims that are set aside in one search for other accounts' payloads.
  private static let mostLargeBytes = 16 << 20
  /// The pause after suspects of which the sink accepted none.
  private static let pauseAfterSuspects = Duration.seconds(1)
  /// Larger payloads of the batch's own accounts aren't tried beside the batch: they may take as long as the batch.
  private static let smallBytes = 1 << 20

  /// The state of trying other accounts' payloads beside a batch.
  private struct Probing {
    /// Slots to use: any that is free.
    let slots: [Int]
    /// Whether suspects may be tried beside the batch: not beside other suspects. If the worker died, it would be
    /// unknown which of them is the cause.
    let takesSuspects: Bool
    /// The accounts in the batch whose payloads the sink delays.
    private(set) var accounts: Set<String>
    /// These accounts' own lists.
    private(set) var ownLists: Set<Int> = []
    /// Whether the lane also looks for other accounts' payloads behind those of these accounts.
    private(set) var isWide = false
    private var othersFailed = false
    /// Whether it is known that the sink delays the payloads of exactly these accounts.
    private var isNarrow = false
    /// Number of envelopes to try. More than one, because the next ones may be rejected as well; but few, because the
    /// sink may be down.
    var most = Probing.first

    private static let first = 20

    init(slots: [Int], accounts: Set<String>, takesSuspects: Bool) {
      self.slots = slots
      self.takesSuspects = takesSuspects
      self.accounts = accounts
      widen()
    }

    private mutating func widen() {
      let areFew = accounts.count < ClaimLoop.fewAccounts
      isWide = !othersFailed && (areFew || isNarrow && accounts.count <= ClaimLoop.mostNarrowed)
      // With more accounts, their own lists could be all lists.
      ownLists = isWide && areFew ? Set(accounts.flatMap { QueueLayout.ownLists(of: $0) }) : []
    }

    /// Limits the search to the accounts whose payloads take long. All other payloads of the batch have their results.
    mutating func narrow(to accounts: Set<String>) {
      guard !accounts.isEmpty else { return }
      isNarrow = true
      self.accounts = accounts
      widen()
    }

    /// Whether claiming beside the batch is useless now. The delayed accounts are known, but there are too many to
    /// claim around them. So a claim could contain their payloads, and take as long as the batch.
    var wouldWait: Bool { isNarrow && !isWide }

    mutating func note(_ work: BatchWork, hasFailed: Bool) {
      // More than any claim's maximum.
      most = hasFailed || work.stored + work.duplicates == 0 ? Self.first : min(most * 4, 1 << 20)
      // Other accounts' payloads failed too, so the batch's accounts aren't the cause.
      if hasFailed, !work.givenAccounts.isSubset(of: accounts) {
        othersFailed = true
        widen()
      }
    }
  }

  private enum OwnOnes {
    case any, small
  }

  /// Whether this lane tries only payloads of accounts that its batch doesn't wait for. Another payload of an account
  /// that it waits for takes as long as the batch does. If all lanes tried these too, other accounts' new payloads
  /// would wait.
  private var looksForOthers: Bool { number.isMultiple(of: 2) }

  /// Whether this is the lane that tries suspects.
  private var mayTakeSuspects: Bool { number == 0 }

  /// Waits before a batch is retried. Other accounts' payloads that arrive during this time are tried at once.
  private func pauseLooking(for duration: Duration, _ probing: inout Probing) async {
    let end = ContinuousClock.now + duration
    while !isEnding, case let left = end - .now, left > .zero {
      await pause(min(left, surroundings.sink.patience ?? left))
      guard looksForOthers, probing.isWide, let others = await claimOthers(probing) else { continue }
      if await tryOut(others, &probing) { return }
    }
  }

  private enum Stored {
    case outcomes([SinkOutcome])
    /// The sink didn't accept it in the maximum number of tries.
    case notTaken
    /// The worker should end, or the lease is over.
    case givenUp
  }

  /// - Parameters:
  ///   - batch: The batch of the deliveries.
  ///   - tries: Maximum number of tries.
  private func store(
    _ deliveries: [Delivery], of batch: ClaimedBatch, _ probing: Probing, tries: Int
  ) async -> Stored {
    var probing = probing
    var failures = 0
    while true {
      do throws(SinkFailure) {
        let outcomes = try await storePatiently(deliveries, &probing)
        if progress.isFine(lane: id) { logger.notice("sink recovered") }
        return .outcomes(outcomes)
      } catch {
        failures += 1
        if isEnding { return .givenUp }
        guard failures < tries else {
          progress.wentWrong("\(error)", shard: surroundings.shard)
          return .notTaken
        }
        if progress.isInTrouble(lane: id, "\(error)") {
          logger.error("sink failing: payloads stay in Redis and are retried", metadata: ["reason": "\(error)"])
        }
        let least = min(error.retryAfter ?? .zero, Self.longestPause)
        let isWorking = await probe(&probing, own: .any)
        if !isWorking { await pauseLooking(for: max(Backoff().delay(afterFailures: failures), least), &probing) }
        if isEnding { return .givenUp }
        // Redis was unreachable for longer than the lease: other workers have, or will have, these envelopes.
        if surroundings.held.current(batch).leaseEnds < .now { return .givenUp }
      }
    }
  }

  private enum Waited: Sendable {
    case ended(Result<[SinkOutcome], SinkFailure>)
    case long
  }

  /// Stores a batch. If it takes long, tries other accounts' payloads beside it.
  private func storePatiently(
    _ deliveries: [Delivery], _ probing: inout Probing
  ) async throws(SinkFailure) -> [SinkOutcome] {
    guard let patience = surroundings.sink.patience else { return try await storeOnce(deliveries) }
    var ownProbing = probing
    let progress = SinkProgress()
    defer { probing = ownProbing }
    let result = await withTaskGroup(of: Waited.self) { group in
      group.addTask {
        do throws(SinkFailure) {
          return .ended(.success(try await storeOnce(deliveries, saying: progress)))
        } catch {
          return .ended(.failure(error))
        }
      }
      func wait(_ duration: Duration) {
        group.addTask {
          // If this is cancelled, the batch has ended or is about to end.
          do { try await Task.sleep(for: duration) } catch {}
          return .long
        }
      }
      wait(patience)
      var result: Result<[SinkOutcome], SinkFailure>?
      while let waited = await group.next() {
        switch waited {
        case .ended(let ended):
          result = ended
          group.cancelAll()
        case .long where result == nil && !isEnding:
          ownProbing.narrow(to: progress.accounts)
          // If the sink accepted some, the next ones don't have to wait.
          let isWorking = ownProbing.wouldWait ? false : await probe(&ownProbing, own: .small)
          wait(isWorking ? .zero : patience)
        case .long: break
        }
      }
      return result ?? .failure(SinkFailure("it was cancelled"))
    }
    return try result.get()
  }

  private func storeOnce(
    _ deliveries: [Delivery], saying progress: SinkProgress = SinkProgress()
  ) async throws(SinkFailure) -> [SinkOutcome] {
    let outcomes = try await surroundings.sink.store(deliveries, saying: progress)
    guard outcomes.count == deliveries.count else {
      throw SinkFailure("the sink gave \(outcomes.count) outcomes for \(deliveries.count) deliveries")
    }
    return outcomes
  }

  /// Tries a few other envelopes while a batch of this lane waits: other accounts', or if there are none, more of the
  /// batch's own accounts.
  /// - Returns: Whether the sink accepted any of them.
  private func probe(_ probing: inout Probing, own: OwnOnes) async -> Bool {
    if probing.isWide {
      if let others = await claimOthers(probing) { return await tryOut(others, &probing) }
      if let suspects = await claimSuspects(probing) { return await tryOut(suspects, &probing) }
      if looksForOthers { return false }
    }
    guard
      let batch = await claimBeside(
        probing.slots, takesSuspects: probing.takesSuspects, limit: probing.most, { _ in nil })
    else {
      return false
    }
    if own == .small, batch.bytes > Self.smallBytes, batch.isOf(probing.accounts) {
      await setAside(batch)
      return false
    }
    return await tryOut(batch, &probing)
  }

  /// Claims until there are payloads of other accounts than the batch's. The batch's accounts' payloads in front of
  /// them are set aside.
  private func claimOthers(_ probing: Probing) async -> ClaimedBatch? {
    var largeBytes = 0
    for number in 1...Self.mostClaims {
      // Lists are shared by accounts, so other accounts' payloads may be in them behind those of the batch's accounts.
      let takesFromAll = number.isMultiple(of: 4)
      let claimed = await claimBeside(probing.slots, takesSuspects: false, limit: .max) { list in
        if !probing.ownLists.contains(list) { return probing.most }
        return takesFromAll ? nil : 0
      }
      guard let batch = claimed else {
        if takesFromAll { return nil }
        continue
      }
      guard batch.isOf(probing.accounts) else { return batch }
      await setAside(batch)
      // Moving large payloads blocks Redis.
      if batch.bytes > Self.smallBytes { largeBytes += batch.bytes }
      if largeBytes > Self.mostLargeBytes { return nil }
    }
    return nil
  }

  /// Claims suspects of other accounts than the batch's: no other lane does, however long this one waits.
  private func claimSuspects(_ probing: Probing) async -> ClaimedBatch? {
    guard probing.takesSuspects else { return nil }
    let claimed = await claimBeside(
      probing.slots, takesSuspects: true, besides: probing.accounts, limit: probing.most, { _ in 0 })
    guard let batch = claimed, batch.isOf(probing.accounts) else { return claimed }
    // There were no suspects, and these came meanwhile.
    await setAside(batch)
    return nil
  }

  /// Claims, and gives each account its turn among the suspects.
  /// - Parameter besides: Accounts whose suspects aren't claimed.
  private func claim(
    slot: Int, takesSuspects: Bool, besides: Set<String> = [], limit: Int, _ ownLimit: (Int) -> Int?
  ) async throws(QueueFailure) -> Claim {
    var passed = 0
    while true {
      let claim = try await consumer.claim(
        slot: slot, takesSuspects: takesSuspects, turns: suspects.turns.passing(over: besides), limit: limit,
        ownLimit: ownLimit)
      guard case .passedOver(let count, let waiting) = claim, !isEnding else {
        if takesSuspects, besides.isEmpty, claim.showsNoSuspects { suspects.forget() }
        return claim
      }
      passed += count
      guard passed >= waiting else { continue }
      // All suspects were passed over.
      guard besides.isEmpty else { return claim }
      suspects.lowerCharges()
      passed = 0
    }
  }

  /// Claims into a free slot. The lane's own next claim handles any other result.
  private func claimBeside(
    _ slots: [Int], takesSuspects: Bool, besides: Set<String> = [], limit: Int, _ ownLimit: (Int) -> Int?
  ) async -> ClaimedBatch? {
    do throws(QueueFailure) {
      for slot in slots where !isEnding {
        let claim = try await claim(
          slot: slot, takesSuspects: takesSuspects, besides: besides, limit: limit, ownLimit)
        switch claim {
        case .batch(let batch): return batch
        case .held: continue
        case .empty, .passedOver, .supplanted: return nil
        }
      }
    } catch {
      progress.wentWrong(
        "the sink fails, and so does claiming other payloads from Redis: \(error)", shard: surroundings.shard)
    }
    return nil
  }

  private func setAside(_ batch: ClaimedBatch) async {
    surroundings.held.hold(batch)
    defer { surroundings.held.release(batch) }
    progress.claimed(batch.entries.count, lane: id)
    await settle(BatchWork(batch, decoding: surroundings.decoding, choosing: 0, besides: batch.accounts))
  }

  private func tryOut(_ batch: ClaimedBatch, _ probing: inout Probing) async -> Bool {
    var work = BatchWork(
      batch, decoding: surroundings.decoding, choosing: probing.most,
      besides: probing.isWide ? probing.accounts : [])
    let begun = ContinuousClock.now
    let proofs = await begin(batch)
    defer { surroundings.held.release(batch) }
    var hasFailed = false
    // These payloads have separate room: batches that the sink doesn't accept must not prevent trying others.
    while !isEnding, !hasFailed, let piece = await nextPiece(&work, proofs, surroundings.room.probes) {
      defer { surroundings.room.probes.giveBack(piece.room) }
      do throws(SinkFailure) {
        note(try await storeOnce(piece.deliveries), of: piece, in: &work)
      } catch {
        guard !isEnding else { break }
        hasFailed = true
        let why = Postponement(reason: "\(error)", isCounted: false, failures: 1, after: error.retryAfter ?? .zero)
        note(piece.deliveries.map { _ in .postponed(why) }, of: piece, in: &work)
      }
    }
    // Suspects that fail say nothing about other payloads.
    if !batch.areSuspects { probing.note(work, hasFailed: hasFailed) }
    await settle(work)
    suspects.note(batch, since: begun)
    return work.stored + work.duplicates > 0
  }

  private func settle(_ work: BatchWork) async {
    let (batch, fates) = (work.batch, work.fates)
    let count = batch.entries.count
    do throws(QueueFailure) {
      let settlement = try await consumer.settle(surroundings.held.current(batch), fates) { error in
        if progress.isInTrouble(lane: id, "\(error)") { log(error, "acknowledging payloads in Redis") }
      }
      switch settlement {
      case .settled(let dead):
        let putBack = fates.count { fate in
          switch fate {
          case .putBack, .setAside, .postpone: true
          case .done, .retry, .dead: false
          }
        }
        let retried = fates.count { if case .retry = $0 { true } else { false } }
        let buried = fates.count { if case .dead = $0 { true } else { false } }
        logDeaths(batch, fates, dead)
        progress.settled(count, putBack: putBack) {
          $0.stored += UInt64(work.stored)
          $0.duplicates += UInt64(work.duplicates)
          $0.dead += UInt64(dead)
          $0.discarded += UInt64(work.discarded)
          // Some of the retries have failed for the last time.
          $0.retried += UInt64(max(retried - (dead - buried), 0))
        }
      case .lost(let other):
        let reason =
          "the lease ended before \(count) payloads were acknowledged: they are claimed again. If this repeats, raise "
          + "--lease or lower --batch"
        logger.warning("\(reason)", metadata: ["taken_by": "\(other ?? "the reaper")"])
        progress.lost(count, reason, shard: surroundings.shard)
      }
    } catch {
      let reason =
        "\(count) payloads couldn't be acknowledged before their lease ended: they are claimed again (\(error))"
      logger.warning("\(reason)")
      progress.lost(count, reason, shard: surroundings.shard)
    }
  }

  private func logDeaths(_ batch: ClaimedBatch, _ fates: [Disposition], _ dead: Int) {
    guard dead > 0 else { return }
    let first = fates.lazy.compactMap { fate -> String? in
      switch fate {
      case .dead(let reason), .retry(let reason, _): reason
      case .done, .putBack, .setAside, .postpone: nil
      }
    }.first
    logger.warning(
      "payloads became dead letters: see sync-status dead",
      metadata: ["count": "\(dead)", "first_reason": "\(first ?? "unknown")"])
  }
}

extension Claim {
  /// Whether a claim that may take suspects shows that none wait.
  fileprivate var showsNoSuspects: Bool {
    switch self {
    case .batch(let batch): !batch.areSuspects
    case .empty: true
    case .held, .supplanted, .passedOver: false
    }
  }
}

extension Backoff {
  /// With jitter from the system's generator.
  func delay(afterFailures failures: Int) -> Duration {
    var generator = SystemRandomNumberGenerator()
    return .nanoseconds(delay(afterFailures: failures, using: &generator).nanoseconds)
  }
}
