// Checks without a sign of an error: the audit of all digests and lengths, the rereading of buckets one by one, and the
// removals of keys.

extension Replica {
  mutating func audited(
    _ result: Result<StoreAnswer<Manifest>, ReadFailure>, now: Instant, _ commands: inout [Command]
  ) {
    auditDue = now + limits.auditInterval
    switch result {
    case .success(.found(let manifest))
    where manifest.buckets.count == mirror.table.bucketCount && manifest.position.epoch == mirror.epoch:
      let wrong = mirror.audit(against: manifest)
      guard let first = wrong.first else { return }
      mirror.distrust(buckets: wrong)
      resync(
        because: "the audit found \(wrong.count) buckets that differ, the first is \(first)", now: now, &commands)
    case .success:
      resync(because: "the audit found another store or none", now: now, &commands)
    case .failure(let failure):
      // Without an audit refusals can't be trusted either.
      resync(because: "the audit can't be read: \(failure)", now: now, &commands)
    }
  }

  /// While a comparison is due anyway, an audit would be useless.
  var mayAudit: Bool { !auditing && resyncAt == nil }

  var mayReread: Bool { rereading.inFlight == nil && resyncAt == nil }

  var damageTrouble: Trouble? { rereading.damaged.min { $0.key < $1.key }.map { .diverged($0.value) } }

  mutating func rereadOne(now: Instant, _ commands: inout [Command]) {
    commands.append(.readBucket(session, rereading.begin(of: mirror.table.bucketCount)))
  }

  mutating func reread(
    _ index: Int, _ result: Result<RawBucket, ReadFailure>, now: Instant, _ commands: inout [Command]
  ) {
    rereading.ended(now: now)
    switch result {
    case .failure(let failure): noteReadFailure(failure, &commands)
    case .success(let raw):
      switch mirror.reread(raw, bucket: index) {
      case .sound(let asMirrored):
        if asMirrored { rereading.vouched(for: index) }
        guard rereading.isSound(index), resyncAt == nil else { break }
        trouble = damageTrouble
        noteCompleteness(&commands)
      case .unsound(let why):
        rereading.noteDamage(of: index, why)
        answerAll(.diverged(why), &commands)
        setTrouble(.diverged(why), why, &commands)
      case .differs:
        mirror.distrust(buckets: [index])
        resync(because: "bucket \(index) was read again and isn't what is mirrored", now: now, &commands)
      }
    }
  }

  mutating func hear(_ change: Change, _ commands: inout [Command]) {
    switch change.effect {
    case .confirm:
      if !removalGuard.quarantined.isEmpty { commands.append(.note(.guardReleased)) }
      removalGuard.confirm(upTo: change.version)
    case .put, .purge, .seal, .undecodable: break
    }
  }

  mutating func noteMovements(now: Instant, _ commands: inout [Command]) {
    let (removals, returns) = mirror.takeMovements()
    for key in returns {
      removalGuard.returned(key)
      rereading.returned(key)
    }
    for removal in removals {
      if removalGuard.note(removal, active: mirror.activeCount, now: now) {
        commands.append(.note(.guarded(keys: removalGuard.quarantined.count)))
      }
      if removal.vanished { rereading.noteVanished(removal.key, from: removal.bucket) }
    }
    if mirror.isSettled { removalGuard.settled() }
    let gone = removals.count(where: \.vanished)
    guard gone > 0, let bucket = removals.first(where: \.vanished)?.bucket else { return }
    violations += UInt64(gone)
    commands.append(.note(.vanished(keys: gone, bucket: bucket)))
    rereading.hurry(now: now)
  }
}
