// Checks that run without any sign of a problem: the audit of all digests and lengths, reading buckets again one by
// one, and the record of removed keys.

extension Replica {
  mutating func audited(_ result: Result<StoreAnswer<Manifest>, ReadFailure>, now: Instant) {
    following?.audit = .due(now + limits.auditInterval)
    switch result {
    case .success(.found(let manifest))
    where manifest.buckets.count == mirror.table.bucketCount && manifest.position.epoch == mirror.epoch:
      let wrong = mirror.audit(against: manifest)
      guard let first = wrong.first else { return }
      mirror.distrust(buckets: wrong)
      resync(because: "the audit found \(wrong.count) buckets that differ, the first is \(first)", now: now)
    case .success:
      resync(because: "the audit found another store or none", now: now)
    case .failure(let failure):
      // A store that can't be audited can't prove refusals either.
      resync(because: "the audit can't be read: \(failure)", now: now)
    }
  }

  var damageTrouble: Trouble? { scrub.damaged.min { $0.key < $1.key }.map { .diverged($0.value) } }

  mutating func rereadOne() {
    let bucket = scrub.begin(of: mirror.table.bucketCount)
    following?.rereading = bucket
    commands.append(.readBucket(session, bucket))
  }

  mutating func reread(
    _ index: Int, _ result: Result<RawBucket, ReadFailure>, in following: Following, now: Instant
  ) {
    following.rereading = nil
    scrub.ended(now: now)
    switch result {
    case .failure(let failure): noteReadFailure(failure)
    case .success(let raw):
      switch mirror.reread(raw, bucket: index) {
      case .sound(let asMirrored):
        if asMirrored { scrub.vouched(for: index) }
        guard scrub.isSound(index), following.compareAt == nil else { break }
        trouble = damageTrouble
        noteCompleteness(in: following)
      case .unsound(let why):
        scrub.noteDamage(of: index, why)
        answerAll(.diverged(why))
        setTrouble(.diverged(why), why)
      case .differs:
        mirror.distrust(buckets: [index])
        resync(because: "bucket \(index) was read again and isn't what is mirrored", now: now)
      }
    }
  }

  mutating func hear(_ change: Change) {
    switch change.effect {
    case .confirm:
      if !removalGuard.quarantined.isEmpty { note(.guardReleased) }
      removalGuard.confirm(upTo: change.version)
    case .put, .purge, .seal, .undecodable: break
    }
  }

  mutating func noteMovements(now: Instant) {
    let (removals, returns) = mirror.takeMovements()
    for key in returns {
      removalGuard.returned(key)
      scrub.returned(key)
    }
    for removal in removals {
      if removalGuard.note(removal, active: mirror.activeCount, now: now) {
        note(.guarded(keys: removalGuard.quarantined.count))
      }
      if removal.vanished { scrub.noteVanished(removal.key, from: removal.bucket) }
    }
    if mirror.isSettled { removalGuard.settled() }
    let gone = removals.count(where: \.vanished)
    guard gone > 0, let bucket = removals.first(where: \.vanished)?.bucket else { return }
    violations += UInt64(gone)
    note(.vanished(keys: gone, bucket: bucket))
    scrub.hurry(now: now)
  }
}
