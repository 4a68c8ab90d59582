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
        resync(because: "bucket \(index) was read again and differs from the mirror", now: now)
      }
    }
  }

  mutating func hear(_ change: Change) {
    switch change.effect {
    case .confirm:
      if holdsKeys { note(.guardReleased) }
      removalGuard.confirm(upTo: change.version)
      losses.confirm(upTo: change.version)
    case .put(let id, _, _, _):
      if !losses.isEmpty { losses.hasRecord(KeyPrefix(id), isActive: mirror.table.find(id)?.state == .active) }
    case .purge, .seal, .undecodable: break
    }
  }

  mutating func noteMovements(now: Instant) {
    let (removals, returns, revivals) = mirror.takeMovements()
    for key in returns {
      removalGuard.returned(key)
      scrub.returned(key)
    }
    if wentBack { for key in revivals { losses.revive(key) } }
    var gone = 0
    for removal in removals {
      guard removal.vanished else {
        if removalGuard.note(removal, active: mirror.activeCount, now: now) {
          note(.guarded(keys: removalGuard.quarantined.count))
        }
        continue
      }
      gone += 1
      // Before it is refused, its bucket is read once more.
      if !losses.note(removal) { scrub.noteVanished(removal.key, from: removal.bucket) }
    }
    if mirror.isSettled {
      removalGuard.settled()
      if wentBack || losses.awaitsSettling { settleLosses() }
    }
    guard gone > 0, let bucket = removals.first(where: \.vanished)?.bucket else { return }
    violations += UInt64(gone)
    note(.vanished(keys: gone, held: losses.vanished.count, bucket: bucket))
    if !scrub.vanished.isEmpty { scrub.hurry(now: now) }
  }

  /// The mirror is complete: everything that the store has lost since is known now.
  private mutating func settleLosses() {
    let table = mirror.table
    losses.settled { table.state($0) }
    guard wentBack else { return }
    wentBack = false
    if !losses.revived.isEmpty { note(.revived(keys: losses.revived.count)) }
  }
}
