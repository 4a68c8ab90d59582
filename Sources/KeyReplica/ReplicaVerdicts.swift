// The verdicts on keys. They are decided in two places only: `admission`, in Admission.swift, and
// `objectionToRefusing`. A key that is held as active is admitted in any phase, unless that information is too old. A
// refusal needs all of its conditions at once. An expired key is refused only by Redis's time in the barrier's read. A
// key without a record isn't refused during a refusal storm.
//
// If the store has a maximum age for its source mark, and the mark is older, nobody is refused: not even a key whose
// record says that it is suspended or revoked. The record is as old as the mark, and the customer may have paid since.

extension Replica {
  public func status(at now: Instant) -> ReplicaStatus {
    let following = following
    return ReplicaStatus(
      completeness: Completeness(
        state: completeness, verified: mirror.verifiedCount, total: mirror.table.bucketCount),
      sealed: mirror.sealed, keys: mirror.count, accounts: mirror.table.accountCount, epoch: mirror.epoch,
      version: mirror.applied, storeVersion: storeVersion, age: answeredAt.map { now - $0 },
      objection: objectionToRefusing ?? sourceObjection ?? following?.positionFailure.map { .barrierFailed($0) },
      barrierReads: (following?.barrier.pace ?? pace).readsSent, barrierWaiting: following?.barrier.count ?? 0,
      quarantined: removalGuard.quarantined.count + losses.vanished.count, vanished: losses.vanished.count,
      revived: losses.revived.count, store: expected.mirrored ?? met, wrongStore: wrongStore,
      admits: wasWhole && HeldKey.isAdmitted(until: admitUntil, at: now), violations: violations,
      source: source, proveAgainst: limits.proveAgainst, recentKeys: refusalValve.counts)
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

  /// Why no key may be refused now; nil if nothing prevents it before the barrier is asked. The barrier's read, the
  /// position's digest, the source mark and refusal storms are checked later, in `verdict(of:by:since:now:)`.
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

  /// Why the source mark that was read last permits no refusals; nil if it does. For the status and the log: a refusal
  /// depends on the mark in the position that its own question was answered with.
  var sourceObjection: Undecided? {
    guard following != nil, let source else { return nil }
    guard source.isWithinBound else { return .sourceStale(source) }
    switch limits.proveAgainst {
    case .store: return nil
    case .source:
      // If no mark came within the time for which a question waits, none will come in time for the next question.
      if let age = source.age, age <= limits.barrierWait { return nil }
      return .sourceStale(source)
    }
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
    var unproven: [Barrier.Ready] = []
    for ready in following.barrier.reached(mirror.applied) {
      if let verdict = verdict(of: ready.question.key, by: ready.read, since: ready.arrival, now: now) {
        commands.append(.answer(ready.question, verdict))
      } else {
        unproven.append(ready)
      }
    }
    if !unproven.isEmpty { following.barrier.awaitMark(unproven) }
  }

  /// The verdict on a key whose barrier's read was answered and whose version the mirror has reached. Nil if a refusal
  /// has to be proven against the source, and needs a later source mark for that.
  /// - Parameter arrival: The source mark of the first read after the question arrived, if this is a later read.
  private mutating func verdict(
    of key: KeyID, by read: Barrier.Reached, since arrival: SourceMark?, now: Instant
  ) -> Verdict? {
    if let admitted = admission(of: key, now: now, proven: read) {
      noteAdmitted(key, admitted)
      return admitted
    }
    if scrub.vanished[KeyPrefix(key)] != nil { return .undecided(.vanished) }
    if let objection = objectionToRefusing { return .undecided(objection) }
    if let why = disagreement(with: read.position) { return .undecided(.diverged(why)) }
    let source = read.position.source
    guard source.isWithinBound else { return .undecided(.sourceStale(source)) }
    if limits.proveAgainst == .source {
      guard let arrival, read.position.coversSource(since: arrival) else { return nil }
    }
    let proof = Proof(
      epoch: read.position.epoch, version: read.position.version, asOf: read.readSentAt, sourceAsOf: source.knownMoment)
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

  // MARK: Refusal storms

  /// Why a key that is proven unknown can't be refused now; nil if there is no refusal storm.
  private mutating func refusalStorm(showing key: KeyID) -> Undecided? {
    guard !withRefusalValve({ $0.mayRefuse(key) }) else { return nil }
    let counts = refusalValve.counts
    return .refusalStorm(unknown: counts.unknown, admitted: counts.admitted)
  }

  private func noteAdmitted(_ key: KeyID, _ verdict: Verdict) {
    if case .admit = verdict { refusalValve.noteAdmitted(key) }
  }

  /// Changes the valve. If a refusal storm begins or ends with the change, that is noted for the log.
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
