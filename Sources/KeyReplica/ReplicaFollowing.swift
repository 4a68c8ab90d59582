// Following the store: its changes, and the positions that determine the mirror's age and prove refusals. Checks
// without a sign of a problem are in ReplicaChecks.

extension Replica {
  // MARK: Changes

  mutating func readChanges(in following: Following, now: Instant) {
    guard following.beginReadingChanges(at: now) else { return }
    commands.append(.readChanges(session, after: mirror.applied))
  }

  mutating func changesCame(_ result: Result<[Change], ReadFailure>, now: Instant) {
    switch phase {
    case .following(let following): changesCame(result, in: following, now: now)
    // These changes are already in the manifest, or will be read again.
    case .comparing(var comparing):
      comparing.conversation.isReadingChanges = false
      phase = .comparing(comparing)
    case .reading(var reading):
      reading.conversation.isReadingChanges = false
      phase = .reading(reading)
    case .disconnected, .connecting, .shutDown: break
    }
  }

  private mutating func changesCame(
    _ result: Result<[Change], ReadFailure>, in following: Following, now: Instant
  ) {
    guard following.changesCame() else { return readChanges(in: following, now: now) }
    switch result {
    case .failure(let failure):
      resync(because: "the changes can't be read: \(failure)", now: now)
    case .success(let changes):
      following.feed.read()
      for change in changes {
        if let why = objection(toApplying: change, in: following, now: now) { return resync(because: why, now: now) }
      }
      if let last = changes.last {
        storeVersion = max(storeVersion ?? 0, last.version)
      } else if let version = following.feed.missing(after: mirror.applied) {
        let why = "the store is at version \(version), but its change stream ends at version \(mirror.applied)"
        return resync(because: why, now: now)
      }
      noteCompleteness(in: following)
      readChanges(in: following, now: now)
    }
  }

  /// Applies a change, and answers the questions that waited for its version.
  /// - Returns: nil, or why everything must be compared.
  private mutating func objection(toApplying change: Change, in following: Following, now: Instant) -> String? {
    let application = mirror.apply(change)
    if change.isAgreed, application == .applied { removalGuard.agreed() }
    noteMovements(now: now)
    switch application {
    case .applied:
      hear(change)
      answerReached(in: following, now: now)
      return reachedExpected(in: following)
    case .hole(let expected, let came):
      return "expected version \(expected), got \(came): versions are missing from the change stream"
    case .disagreement(let why): return why
    }
  }

  /// Checks whether the mirror has reached the expected position.
  /// - Returns: Why the mirror's version belongs to another history than that position; nil if it doesn't.
  private mutating func reachedExpected(in following: Following) -> String? {
    guard let expected = following.feed.reached(mirror.applied) else { return nil }
    if mirror.isComplete, let why = disagreement(with: expected.position) { return why }
    answered(expected.readSentAt)
    return nil
  }

  // MARK: Contradictions

  /// Compares everything again: at once the first time, later if it happens repeatedly.
  mutating func resync(because reason: String, now: Instant) {
    note(.resync(reason))
    answerAll(.diverged(reason))
    if failures == 0 {
      failures = 1
      compareAgain(because: reason, now: now)
    } else {
      following?.feed.breakOff()
      trouble = .diverged(reason)
      compareLater(now: now)
    }
  }

  /// Waits before everything is compared again. Keys are still admitted from the mirror.
  mutating func compareLater(now: Instant) {
    // Further problems before then don't delay the comparison.
    guard let following, following.compareAt == nil else { return }
    following.compareAt = now + nextRetry()
  }

  // MARK: Positions

  mutating func readPosition(now: Instant) {
    guard
      let read = following?.beginReadingPosition(at: now, applied: mirror.applied, nextAfter: limits.positionInterval)
    else { return }
    commands.append(.readPosition(session, read: read.number, fencedBy: read.fencedBy))
  }

  mutating func positionCame(
    _ number: UInt64, _ fence: Fence, _ result: Result<StoreAnswer<StorePosition>, ReadFailure>, now: Instant
  ) {
    // A comparison abandons the read in flight, so this read belongs to the mirror that is followed now.
    guard let following, let read = following.barrier.read, read.number == number else { return }
    switch result {
    case .failure(let failure):
      noteReadFailure(failure)
      following.positionFailure = failure.description
      failRead(.barrierFailed("\(failure)"))
    case .success(.noStore):
      failRead(.noStore)
      setTrouble(
        .noStore,
        "the key store is gone from this Redis (FLUSHALL, another server, an empty replica?): restore Redis, or run "
          + "key-publisher import")
      if following.compareAt == nil { compareAgain(because: "the store vanished", now: now) }
    case .success(.incompatible(let why)):
      failRead(.incompatible(why))
      setTrouble(.incompatible(why), why)
      if following.compareAt == nil { compareAgain(because: why, now: now) }
    case .success(.found(let position)):
      if let why = contradiction(with: position, read: read) {
        failRead(.diverged(why))
        if following.compareAt == nil { resync(because: why, now: now) }
      } else {
        take(position, read: read, fence, in: following, now: now)
      }
    }
    // The answer may have ended this phase: then nothing is read.
    if self.following?.barrier.wantsRead(at: now) == true { readPosition(now: now) }
  }

  /// Processes a position that belongs to the mirrored history.
  private mutating func take(
    _ position: StorePosition, read: Barrier.Read, _ fence: Fence, in following: Following, now: Instant
  ) {
    lastReadFailure = nil
    let position = withKnownMaxAge(position)
    noteTime(of: position, readSentAt: read.sentAt)
    storeVersion = position.version
    following.positionFailure = nil
    following.replicas = position.replicas
    withRefusalValve { $0.heard(confirmed: position.confirmedUnknown) }
    noteSource(position.source)
    let isOvertaken = position.version < mirror.applied
    let isFenced = read.fencedBy >= Fence.needed(of: position.replicas)
    if isOvertaken || read.isWaitedFor && !isFenced {
      following.barrier.readAgain()
      return
    }
    if position.version == mirror.applied {
      // While a comparison is due, the mirror may show a history that the store has left.
      if following.compareAt == nil { answered(read.sentAt) }
      if mirror.isComplete, trouble == nil, following.feed.wasAnswered { failures = 0 }
    } else {
      following.feed.expect(ChangeFeed.Expected(position: position, since: now, readSentAt: read.sentAt))
    }
    if isFenced { noteFence(fence.objection(declared: position.replicas)) }
    if let unfenced = following.conversation.unfenced {
      failRead(.unfenced(unfenced))
    } else {
      following.barrier.answered(position)
      answerReached(in: following, now: now)
    }
  }

  /// Sets the table's clock by Redis's time. The latest read counts, even if Redis's clock went back.
  func noteTime(of position: StorePosition, readSentAt sentAt: Instant) {
    guard let time = position.time, let clock = StoreClock(time: time, readSentAt: sentAt) else { return }
    mirror.table.setStoreClock(clock)
  }

  /// Answers the questions of a read that was answered and proves nothing.
  private mutating func failRead(_ why: Undecided) {
    answer(following?.barrier.failed() ?? [], why)
  }

  /// Adds the earlier signs of replicas to the fence. A seen replica must be recorded in the store before it can be
  /// promoted and then be forgotten.
  mutating func remembering(_ fence: Fence) -> Fence {
    var fence = fence
    unrecordedReplicas = max(unrecordedReplicas, fence.signs.toRecord)
    if unrecordedReplicas > fence.signs.recorded {
      fence.signs.recorded = unrecordedReplicas
      commands.append(.recordReplicas(session, unrecordedReplicas))
    } else {
      unrecordedReplicas = 0
    }
    return fence
  }

  private mutating func noteFence(_ objection: String?) {
    guard let following, following.conversation.unfenced != objection else { return }
    following.conversation.unfenced = objection
    note(objection.map { .unfenced($0) } ?? .fenced)
  }

  /// Keeps the maximum age of the source mark in force if the store says nothing of one any more: it was flushed and
  /// filled again, or somebody deleted the field. Otherwise such a store would refuse keys by a content of unknown age.
  private mutating func withKnownMaxAge(_ position: StorePosition) -> StorePosition {
    let mark = position.source
    guard mark.flaw == nil else { return position }
    if mark.maxAge != nil || mark.saysNoLimit { knownMaxAge = mark.maxAge }
    let lost = mark.maxAge == nil ? knownMaxAge : nil
    if let lost, !isMaxAgeLost { note(.sourceMaxAgeLost(lost)) }
    isMaxAgeLost = lost != nil
    guard let lost else { return position }
    var position = position
    position.source.maxAge = lost
    return position
  }

  private mutating func noteSource(_ mark: SourceMark) {
    let former = sourceObjection
    source = mark
    guard (sourceObjection == nil) != (former == nil) else { return }
    note(sourceObjection.map { .sourceStale($0.inWords) } ?? .sourceRecent)
  }

  /// Why this position can't belong to the mirrored history; nil if it can.
  private func contradiction(with position: StorePosition, read: Barrier.Read) -> String? {
    if position.epoch != mirror.epoch {
      return "the store has another history: epoch \(position.epoch) instead of \(mirror.epoch ?? "none")"
    }
    if position.version < read.appliedThen {
      return "the store went back from version \(read.appliedThen) to \(position.version)"
    }
    if position.version < mirror.floor {
      return "a bucket was changed at version \(mirror.floor), but the store is only at \(position.version): the store "
        + "lost changes, or was edited by hand. Run key-publisher verify"
    }
    guard position.version == mirror.applied, mirror.isComplete else { return nil }
    return disagreement(with: position)
  }

  /// The difference between the complete mirror and the store's position at the mirror's version; nil if there is none.
  /// The digest alone is not enough: some changes change no record, and versions may have been used twice.
  func disagreement(with position: StorePosition) -> String? {
    if position.digest != mirror.total {
      return "at version \(position.version) the store's digest is \(position.digest), the mirror's is \(mirror.total)"
    }
    if position.count != mirror.count {
      return
        "at version \(position.version) the store says it has \(position.count) records, the mirror has \(mirror.count)"
    }
    if position.sealed != mirror.sealed {
      return "at version \(position.version) the store is \(position.sealed ? "sealed" : "no longer sealed")"
    }
    return nil
  }

  mutating func noteCompleteness(in following: Following) {
    if mirror.isComplete, mirror.sealed {
      wasWhole = true
      if let met, met != expected.mirrored {
        if met.id != expected.mirrored?.id { note(.mirrors(met)) }
        expected.mirrored = met
      }
    }
    guard !following.saidComplete, completeness == .complete, let epoch = mirror.epoch else { return }
    following.saidComplete = true
    note(.complete(keys: mirror.count, version: mirror.applied, epoch: epoch, sealed: mirror.sealed))
  }

  // MARK: Time

  mutating func timePassed(in following: Following, now: Instant) {
    answer(following.barrier.expiredForMark(at: now), .sourceStale(source ?? SourceMark()))
    answer(following.barrier.expired(at: now), .barrierTimedOut)
    if let due = following.compareAt, due <= now {
      return compareAgain(because: "retry: the store had vanished or disagreed", now: now)
    }
    if following.barrier.read == nil, following.positionDue <= now || following.barrier.wantsRead(at: now) {
      readPosition(now: now)
    }
    if following.mayReread, scrub.due <= now { rereadOne() }
    if let due = following.auditDue, due <= now {
      following.audit = .onItsWay
      readManifest()
    }
  }
}
