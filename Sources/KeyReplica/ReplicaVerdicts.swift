// What a node may say of a key now. It is decided in two places only: `admission` and `objectionToRefusing`. A key that is active in the mirror
// is admitted in any state, as long as what is held of it isn't too old. A refusal needs everything at once.

extension Replica {
  public func status(at now: Instant) -> ReplicaStatus {
    ReplicaStatus(
      completeness: Completeness(
        state: completeness, verified: mirror.verifiedCount, total: mirror.table.bucketCount),
      sealed: mirror.sealed, keys: mirror.count, accounts: mirror.table.accountCount, epoch: mirror.epoch,
      version: mirror.applied, storeVersion: storeVersion, age: answeredAt.map { now - $0 },
      objection: objectionToRefusing ?? positionFailure.map { .barrierFailed($0) }, barrierReads: barrier.readsSent,
      barrierWaiting: barrier.count, quarantined: removalGuard.quarantined.count,
      admits: wasWhole && admitUntil.map { now < $0 } ?? false, violations: violations)
  }

  var completeness: Completeness.State {
    if case .incompatible = trouble { return .incompatible }
    if mirror.epoch == nil, mirror.count == 0 { return .empty }
    if trouble != nil { return .diverged }
    if mirror.isComplete { return removalGuard.quarantined.isEmpty ? .complete : .guarded }
    return mirror.epoch == nil ? .restored : .loading
  }

  /// Why nobody may be refused now; nil if all that a refusal needs is there, except for the barrier itself.
  var objectionToRefusing: Undecided? {
    switch phase {
    case .disconnected, .connecting: return .storeAway(awayReason)
    case .shutDown: return .shuttingDown
    case .comparing:
      if let lastReadFailure { return .storeAway(lastReadFailure) }
    case .reading, .following: break
    }
    switch trouble {
    case .noStore: return .noStore
    case .incompatible(let why): return .incompatible(why)
    case .diverged(let why): return .diverged(why)
    case nil: break
    }
    guard case .following = phase, mirror.isComplete else {
      return .loading(verified: mirror.verifiedCount, total: mirror.table.bucketCount)
    }
    #if SLUICE_MUTANTS
      if Mutant.active == .ignoredSeal { return nil }
    #endif
    if !mirror.sealed { return .unsealed }
    return unfenced.map { .unfenced($0) }
  }

  mutating func asked(_ question: Question, now: Instant, _ commands: inout [Command]) {
    // Between the asker's look at the table and this one the key may have been put.
    if let admitted = admission(of: question.key, now: now) {
      commands.append(.answer(question, admitted))
      return
    }
    if let objection = objectionToRefusing {
      commands.append(.answer(question, .undecided(objection)))
      return
    }
    #if SLUICE_MUTANTS
      if Mutant.active == .noBarrier {
        let read = Barrier.Reached(position: mirroredPosition(), readSentAt: now)
        commands.append(.answer(question, verdict(of: question.key, by: read)))
        return
      }
    #endif
    guard barrier.count < limits.barrierQueue else {
      commands.append(.answer(question, .undecided(.tooManyWaiting(limit: limits.barrierQueue))))
      return
    }
    barrier.add(question, deadline: now + limits.barrierWait)
    if barrier.wantsRead(at: now) { readPosition(now: now, &commands) }
  }

  /// Admits a key that is active in the mirror, unless the mirror is too old; nil if the key isn't active in it.
  func admission(of key: KeyID, now: Instant) -> Verdict? {
    guard let (account, until, _) = held(key) else { return nil }
    #if SLUICE_MUTANTS
      if Mutant.active == .unboundedAge { return .admit(account: account) }
    #endif
    if let until, now < until { return .admit(account: account) }
    return .undecided(.stale(until.map { limits.admitAge + (now - $0) } ?? limits.admitAge))
  }

  /// Why a key counts as active.
  package enum Holding {
    case mirrored
    /// It isn't in a bucket any more since that was read, and the mirror isn't complete yet.
    case formerlyMirrored
    /// Its removal waits for an operator.
    case quarantined
  }

  /// What is held of a key as active, and until when it is admitted on the strength of that: nil as the time where nothing was ever heard.
  package func held(_ key: KeyID) -> (account: String, until: Instant?, as: Holding)? {
    if let (state, name) = mirror.table.find(key), state == .active {
      return (name, [admitUntil, mirror.table.admitUntil(key)].compactMap { $0 }.min(), .mirrored)
    }
    let prefix = KeyPrefix(key)
    if let (entry, until) = mirror.former.active(prefix, of: key.bucket(of: mirror.table.bucketCount)) {
      return (mirror.table.accountName(of: entry.account), until, .formerlyMirrored)
    }
    return removalGuard.quarantined[prefix].map { ($0, admitUntil, .quarantined) }
  }

  mutating func answerReached(_ commands: inout [Command]) {
    for (question, read) in barrier.reached(mirror.applied) {
      commands.append(.answer(question, verdict(of: question.key, by: read)))
    }
  }

  /// The verdict for a key whose barrier's read has been answered and reached.
  func verdict(of key: KeyID, by read: Barrier.Reached) -> Verdict {
    let found = mirror.table.find(key)
    if let found, found.state == .active { return .admit(account: found.account) }
    if let account = removalGuard.quarantined[KeyPrefix(key)] { return .admit(account: account) }
    if rereading.vanished[KeyPrefix(key)] != nil { return .undecided(.vanished) }
    if let objection = objectionToRefusing { return .undecided(objection) }
    #if SLUICE_MUTANTS
      let read =
        Mutant.active == .answeredPastVersion
        ? Barrier.Reached(position: mirroredPosition(as: read.position.version), readSentAt: read.readSentAt) : read
    #endif
    if let why = disagreement(with: read.position) { return .undecided(.diverged(why)) }
    let proof = Proof(epoch: read.position.epoch, version: read.position.version, asOf: read.readSentAt)
    switch found?.state {
    case .suspended: return .refuse(.suspendedKey, proof)
    case .revoked: return .refuse(.revokedKey, proof)
    case .active, nil: return .refuse(.unknownKey, proof)
    }
  }

  #if SLUICE_MUTANTS
    /// As if it had been read of the store.
    func mirroredPosition(as version: UInt64? = nil) -> StorePosition {
      StorePosition(
        epoch: mirror.epoch ?? "", version: version ?? mirror.applied, count: mirror.count, digest: mirror.total,
        sealed: mirror.sealed, announced: 0, confirmed: 0, replicas: nil)
    }
  #endif

  mutating func answerAll(_ why: Undecided, _ commands: inout [Command]) {
    #if SLUICE_MUTANTS
      if Mutant.active == .keptQuestions, why != .shuttingDown { return }
    #endif
    answer(barrier.giveUp(), why, &commands)
  }

  func answer(_ questions: [Question], _ why: Undecided, _ commands: inout [Command]) {
    commands += questions.map { .answer($0, .undecided(why)) }
  }
}
