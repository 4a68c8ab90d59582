// The verdicts on keys. They are decided in two places only: `admission`, in Admission.swift, and
// `objectionToRefusing`. A key that is held as active is admitted in any phase, unless that information is too old. A
// refusal needs all of its conditions at once. An expired key is refused only by Redis's time in the barrier's read. A
// key without a record is refused only if the refusal valve is open too.

extension Replica {
  public func status(at now: Instant) -> ReplicaStatus {
    let following = following
    return ReplicaStatus(
      completeness: Completeness(
        state: completeness, verified: mirror.verifiedCount, total: mirror.table.bucketCount),
      sealed: mirror.sealed, keys: mirror.count, accounts: mirror.table.accountCount, epoch: mirror.epoch,
      version: mirror.applied, storeVersion: storeVersion, age: answeredAt.map { now - $0 },
      objection: objectionToRefusing ?? following?.positionFailure.map { .barrierFailed($0) },
      barrierReads: (following?.barrier.pace ?? pace).readsSent, barrierWaiting: following?.barrier.count ?? 0,
      quarantined: removalGuard.quarantined.count + losses.vanished.count, vanished: losses.vanished.count,
      revived: losses.revived.count, store: expected.mirrored ?? met, wrongStore: wrongStore,
      admits: wasWhole && HeldKey.isAdmitted(until: admitUntil, at: now), violations: violations,
      recentKeys: refusalValve.counts)
  }

  var completeness: Completeness.State {
    if case .incompatible = trouble { return .incompatible }
    if mirror.epoch == nil, mirror.count == 0 { return .empty }
    if trouble != nil { return .diverged }
    if mirror.isComplete { return holdsKeys ? .guarded : .complete }
    return mirror.epoch == nil ? .restored : .loading
  }

  /// Whether keys stay admitted although the store doesn't have them as active any more.
  var holdsKeys: Bool { !removalGuard.quarantined.isEmpty || !losses.vanished.isEmpty }

  var wrongStore: WrongStore? { if case .wrongStore(let wrong) = trouble { wrong } else { nil } }

  /// Why no key may be refused now; nil if all conditions of a refusal are met, except the barrier itself.
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
    case .wrongStore(let wrong): return .wrongStore(wrong)
    case .diverged(let why): return .diverged(why)
    case nil: break
    }
    guard let following, mirror.isComplete else { return loading }
    if !mirror.sealed { return .unsealed }
    return following.conversation.unfenced.map { .unfenced($0) }
  }

  var loading: Undecided { .loading(verified: mirror.verifiedCount, total: mirror.table.bucketCount) }

  mutating func asked(_ question: Question, now: Instant) {
    // The key may have been put after the caller read the table.
    if let admitted = admission(of: question.key, now: now) {
      noteAdmitted(question.key, admitted)
      commands.append(.answer(question, admitted))
      return
    }
    if let objection = objectionToRefusing { return answer([question], objection) }
    guard let following, following.barrier.count < limits.barrierQueue else {
      return answer([question], .tooManyWaiting(limit: limits.barrierQueue))
    }
    following.barrier.add(question, deadline: now + limits.barrierWait)
    if following.barrier.wantsRead(at: now) { readPosition(now: now) }
  }

  mutating func answerReached(in following: Following, now: Instant) {
    for (question, read) in following.barrier.reached(mirror.applied) {
      let verdict = verdict(of: question.key, by: read, now: now)
      commands.append(.answer(question, verdict))
    }
  }

  /// The verdict on a key whose barrier's read was answered and whose version the mirror has reached.
  private mutating func verdict(of key: KeyID, by read: Barrier.Reached, now: Instant) -> Verdict {
    if let admitted = admission(of: key, now: now, proven: read) {
      noteAdmitted(key, admitted)
      return admitted
    }
    if scrub.vanished[KeyPrefix(key)] != nil { return .undecided(.vanished) }
    if let objection = objectionToRefusing { return .undecided(objection) }
    if let why = disagreement(with: read.position) { return .undecided(.diverged(why)) }
    let proof = Proof(epoch: read.position.epoch, version: read.position.version, asOf: read.readSentAt)
    let entry = mirror.table.entry(key)
    switch entry?.state {
    case .suspended: return .refuse(.suspendedKey, proof)
    case .revoked: return .refuse(.revokedKey, proof)
    case .active:
      // An active key isn't admitted only if it may have ended. The proof needs Redis's own time, from the same read.
      guard let entry, let time = read.position.time, entry.expiry.isReached(at: time) else {
        return .undecided(.expiryUnproven)
      }
      return .refuse(.expiredKey, proof)
    case nil:
      if let storm = refusalStorm(showing: key) { return .undecided(storm) }
      return .refuse(.unknownKey, proof)
    }
  }

  // MARK: The refusal valve

  /// Why a key that is proven unknown can't be refused now; nil if the valve permits it.
  private mutating func refusalStorm(showing key: KeyID) -> Undecided? {
    guard !withRefusalValve({ $0.mayRefuse(key) }) else { return nil }
    let counts = refusalValve.counts
    return .refusalStorm(unknown: counts.unknown, admitted: counts.admitted)
  }

  private func noteAdmitted(_ key: KeyID, _ verdict: Verdict) {
    if case .admit = verdict { refusalValve.noteAdmitted(key) }
  }

  /// Changes the valve. If the change opens or closes the valve, that is noted for the log.
  mutating func withRefusalValve<Result>(_ change: (inout RefusalValve) -> Result) -> Result {
    let wasClosed = refusalValve.isClosed
    let result = change(&refusalValve)
    if refusalValve.isClosed != wasClosed {
      let counts = refusalValve.counts
      note(wasClosed ? .refusalStormOver : .refusalStorm(unknown: counts.unknown, admitted: counts.admitted))
    }
    return result
  }

  /// Answers all waiting questions, because nothing can be proven for a while.
  mutating func answerAll(_ why: Undecided) { answer(following?.barrier.giveUp() ?? [], why) }

  mutating func answer(_ questions: [Question], _ why: Undecided) {
    commands += questions.map { .answer($0, .undecided(why)) }
  }
}
