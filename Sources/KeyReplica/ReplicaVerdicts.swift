// The verdicts on keys. They are decided in two places only: `admission`, in Admission.swift, and
// `objectionToRefusing`. A key that is held as active is admitted in any phase, unless that information is too old. A
// refusal needs all of its conditions at once.

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
      quarantined: removalGuard.quarantined.count,
      admits: wasWhole && HeldKey.isAdmitted(until: admitUntil, at: now), violations: violations)
  }

  var completeness: Completeness.State {
    if case .incompatible = trouble { return .incompatible }
    if mirror.epoch == nil, mirror.count == 0 { return .empty }
    if trouble != nil { return .diverged }
    if mirror.isComplete { return removalGuard.quarantined.isEmpty ? .complete : .guarded }
    return mirror.epoch == nil ? .restored : .loading
  }

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
      commands.append(.answer(question, verdict(of: question.key, by: read, now: now)))
    }
  }

  /// The verdict on a key whose barrier's read was answered and whose version the mirror has reached.
  private func verdict(of key: KeyID, by read: Barrier.Reached, now: Instant) -> Verdict {
    if let admitted = admission(of: key, now: now, proven: read.readSentAt) { return admitted }
    if scrub.vanished[KeyPrefix(key)] != nil { return .undecided(.vanished) }
    if let objection = objectionToRefusing { return .undecided(objection) }
    if let why = disagreement(with: read.position) { return .undecided(.diverged(why)) }
    let proof = Proof(epoch: read.position.epoch, version: read.position.version, asOf: read.readSentAt)
    switch mirror.table.find(key)?.state {
    case .suspended: return .refuse(.suspendedKey, proof)
    case .revoked: return .refuse(.revokedKey, proof)
    case .active, nil: return .refuse(.unknownKey, proof)
    }
  }

  /// Answers all waiting questions, because nothing can be proven for a while.
  mutating func answerAll(_ why: Undecided) { answer(following?.barrier.giveUp() ?? [], why) }

  mutating func answer(_ questions: [Question], _ why: Undecided) {
    commands += questions.map { .answer($0, .undecided(why)) }
  }
}
