// Comparing the mirror with the store's manifest, and reading the buckets that differ.

extension Replica {
  // MARK: Comparing

  mutating func compare(
    because reason: String, in conversation: Conversation, isFirst: Bool = false, now: Instant
  ) {
    enter(.comparing(Comparing(conversation: conversation, reason: reason, isFirst: isFirst, sentAt: now)))
    readManifest()
  }

  /// Compares everything again, on the same connection.
  mutating func compareAgain(because reason: String, now: Instant) {
    switch phase {
    case .comparing(let comparing):
      compare(because: reason, in: comparing.conversation, isFirst: comparing.isFirst, now: now)
    case .following(let following): compare(because: reason, in: following.conversation, now: now)
    case .disconnected, .connecting, .reading, .shutDown: break
    }
  }

  mutating func readManifest() {
    manifestRead += 1
    commands.append(.readManifest(session, read: manifestRead))
  }

  mutating func manifestCame(_ result: Result<StoreAnswer<Manifest>, ReadFailure>, now: Instant) {
    switch phase {
    case .comparing(let comparing):
      if comparing.retryAt == nil { compared(comparing, result, now: now) }
    case .following(let following):
      if case .onItsWay = following.audit { audited(result, now: now) }
    case .disconnected, .connecting, .reading, .shutDown: break
    }
  }

  private mutating func compared(
    _ comparing: Comparing, _ result: Result<StoreAnswer<Manifest>, ReadFailure>, now: Instant
  ) {
    let manifest: Manifest
    switch result {
    case .failure(let failure):
      // The reply isn't an answer about the store. The known state of the store stays unchanged.
      noteReadFailure(failure)
      return retry(comparing, now: now)
    case .success(.noStore):
      setTrouble(.noStore, "there is no key store in this Redis and namespace: run key-publisher import")
      return retry(comparing, now: now)
    case .success(.incompatible(let why)):
      setTrouble(.incompatible(why), why)
      return retry(comparing, now: now)
    case .success(.found(let found)):
      guard found.buckets.count == mirror.table.bucketCount else {
        let why = "the store has \(found.buckets.count) buckets, this build expects \(mirror.table.bucketCount)"
        setTrouble(.incompatible(why), why)
        return retry(comparing, now: now)
      }
      manifest = found
    }
    if let wrong = expected.objection(to: manifest.position) {
      setTrouble(.wrongStore(wrong), "\(wrong)")
      return retry(comparing, now: now)
    }
    met = manifest.position.store
    lastReadFailure = nil
    noteTime(of: manifest.position, readSentAt: comparing.sentAt)
    if mirror.epoch != manifest.position.epoch {
      unrecordedReplicas = 0
      source = nil
    }
    noteConfirmations(of: manifest.position)
    withRefusalValve { $0.heard(confirmed: manifest.position.confirmedUnknown) }
    if let why = historyMismatch(of: manifest) {
      wentBack = true
      if comparing.isFirst { note(.resync(why)) }
    }
    memory = nil
    losses.compared()
    // The mirrored content of buckets that differ keeps its age, until they have been read.
    let differing = mirror.compare(with: manifest, holdingUntil: admitUntil)
    answered(comparing.sentAt)
    storeVersion = manifest.position.version
    if !differing.isEmpty, trouble == nil {
      note(.reading(buckets: differing.count, reason: comparing.reason))
    }
    enter(.reading(Reading(conversation: comparing.conversation, manifest: manifest, pending: differing[...])))
    readMore(now: now)
  }

  /// Takes two numbers from the manifest. The number of marked removals raises the removal guard's allowance by the
  /// marks that the node missed while it wasn't connected. The last confirmation releases held keys if it is new to the
  /// node.
  private mutating func noteConfirmations(of position: StorePosition) {
    let isOtherHistory = (mirror.epoch ?? memory?.epoch).map { $0 != position.epoch } ?? false
    let held = holdsKeys
    let isNew = losses.heard(confirmed: position.confirmed, isOtherHistory: isOtherHistory)
    removalGuard.heard(
      announced: position.announced, confirmed: position.confirmed, isNewConfirmation: isNew,
      isOtherHistory: isOtherHistory)
    if held, !holdsKeys { note(.guardReleased) }
  }

  /// Why the store can't be a continuation of the mirrored history; nil if it can.
  private func historyMismatch(of manifest: Manifest) -> String? {
    guard mirror.epoch == nil, let memory else { return mirror.historyMismatch(of: manifest) }
    let position = manifest.position
    if position.epoch != memory.epoch {
      return "the store has another history: epoch \(position.epoch) instead of \(memory.epoch)"
    }
    guard position.version < memory.version else { return nil }
    return "the store went back from version \(memory.version) to \(position.version)"
  }

  /// Waits before the manifest is read again. Keys are still admitted from the mirror.
  private mutating func retry(_ comparing: Comparing, now: Instant) {
    var waiting = comparing
    waiting.retryAt = now + nextRetry()
    phase = .comparing(waiting)
  }

  // MARK: Reading

  private mutating func readMore(now: Instant) {
    guard case .reading(var reading) = phase else { return }
    while reading.inFlight.count < limits.bucketsInFlight, let next = reading.pending.popFirst() {
      commands.append(.readBucket(session, next))
      reading.inFlight.insert(next)
    }
    phase = .reading(reading)
    if reading.inFlight.isEmpty { follow(after: reading, now: now) }
  }

  mutating func bucketCame(_ index: Int, _ result: Result<RawBucket, ReadFailure>, now: Instant) {
    switch phase {
    case .reading(var reading):
      // A second reply for the same bucket is ignored: otherwise it would be counted for a bucket that is still in
      // flight.
      guard reading.inFlight.remove(index) != nil else { return }
      if let refusal = refusal(of: index, result, listedIn: reading.manifest) {
        reading.refused.append(refusal)
        // While the trouble continues, it isn't logged again.
        if reading.refused.count <= 3, trouble == nil { note(.bucketRefused(refusal)) }
      }
      noteMovements(now: now)
      phase = .reading(reading)
      readMore(now: now)
    case .following(let following):
      if following.rereading == index { reread(index, result, in: following, now: now) }
    case .disconnected, .connecting, .comparing, .shutDown: break
    }
  }

  /// Installs a bucket that was read.
  /// - Returns: nil, or why it can't be installed.
  private mutating func refusal(
    of index: Int, _ result: Result<RawBucket, ReadFailure>, listedIn manifest: Manifest
  ) -> String? {
    switch result {
    case .success(let raw): mirror.install(raw, asBucket: index, listedIn: manifest, admittedUntil: admitUntil)
    case .failure(let failure): "bucket \(index): \(failure)"
    }
  }

  private mutating func follow(after reading: Reading, now: Instant) {
    let following = Following(
      conversation: reading.conversation, barrier: Barrier(pace: pace),
      replicas: reading.manifest.position.replicas, positionDue: now + limits.positionInterval,
      auditDue: now + limits.auditInterval)
    enter(.following(following))
    scrub.postpone(from: now)
    if let first = reading.refused.first {
      let why = reading.refused.count == 1 ? first : "\(first), and \(reading.refused.count - 1) more"
      setTrouble(.diverged(why), why)
      compareLater(now: now)
    } else if let objection = mirror.finishedReading(of: reading.manifest) {
      setTrouble(.diverged(objection), objection)
      compareLater(now: now)
    } else {
      trouble = damageTrouble
    }
    noteMovements(now: now)
    readChanges(in: following, now: now)
    noteCompleteness(in: following)
  }
}
