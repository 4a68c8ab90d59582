// How a node's mirror follows the store: the complete state machine.
//
// Events go in, commands come out, and time is passed in with each event. It does no I/O and reads no clock, so that a
// test can run it against a simulated store under any order of events. In a node the driver in KeyStore carries out the
// commands.
//
//     disconnected ──connect──▶ connecting ──▶ comparing ──▶ reading ──▶ following
//          ▲                        │              │  ▲          │           │
//          └──────── the connection ended ─────────┴──┼──────────┴───────────┤
//                                                     └── hole, disagreement, other history
//
// comparing: the manifest has been requested. The differences will be known when it arrives.
// reading:   the buckets that differ are being read, some at a time; the old ones stay in use.
// following: changes are applied as they arrive; positions are read periodically, and for the barrier.
//
// ReplicaVerdicts decides on keys in each state.

/// The synchronisation of one node's mirror with its store.
public struct Replica {
  enum Phase {
    case disconnected(retryAt: Instant)
    case connecting
    case comparing(reason: String)
    case reading(Reading)
    case following
    case shutDown
  }

  struct Reading {
    let manifest: Manifest
    var pending: ArraySlice<Int>
    var inFlight: Set<Int> = []
    var refused: [String] = []
  }

  /// Why the mirror isn't complete, if the reason isn't only that it hasn't been read yet.
  enum Trouble: Equatable {
    case noStore
    case incompatible(String)
    case diverged(String)
  }

  let limits: Limits
  var generator: Jitter
  var mirror: Mirror
  var barrier: Barrier
  var phase: Phase
  var session: ConnectionID = 0
  var trouble: Trouble?
  var failures = 0
  var awayReason = "not connected yet"
  var lastReadFailure: String?
  /// The error of the last read of the position, if it failed. Each question makes its own try; this is for the status.
  var positionFailure: String?

  /// When the manifest is to be read again although the connection continues.
  var resyncAt: Instant?
  /// When the last read of this history was sent that was answered, and whose version was reached; nil if there was
  /// none.
  var answeredAt: Instant?
  var storeVersion: UInt64?
  var positionDue: Instant
  var auditDue: Instant
  var auditing = false
  /// Whether the store hasn't answered on this connection yet: it may have left its history while nobody followed.
  var isFirstComparison = false
  /// The manifest read whose reply counts; a later one replaces it.
  var manifestRead: UInt64 = 0
  var manifestSentAt: Instant
  var feed: ChangeFeed
  /// The store's number of replicas at the last reading, and why reads aren't fenced, if the last one that needed the
  /// fence wasn't.
  var replicas: Int?
  var unfenced: String?
  /// The greatest number of replicas seen, until the store is known to have it.
  var unrecordedReplicas = 0
  var saidComplete = false
  /// Whether the mirror was ever a whole sealed store, here or before a restart.
  var wasWhole: Bool
  var removalGuard: RemovalGuard
  var rereading: ScrubSchedule
  /// Keys that vanished without a change that ended them.
  var violations: UInt64 = 0

  /// - Parameters:
  ///   - table: The mirror's table; read by others, written by this alone.
  ///   - heardAt: If the table was restored from an image: when the store had last answered before it was made.
  ///   - held: Buckets that the store had changed by then, with the time at which the store last had their content.
  ///   - announced: The number of marked removals by then.
  ///   - seed: For the jitter of retries.
  public init(
    table: KeyTable, limits: Limits = Limits(), restoredFrom heardAt: Instant? = nil, held: [Int: Instant] = [:],
    announced: UInt64? = nil, seed: UInt64, now: Instant
  ) {
    precondition(limits.bucketsInFlight > 0, "with no bucket in flight nothing would ever be read")
    self.limits = limits
    generator = Jitter(state: seed)
    barrier = Barrier(interval: limits.barrierInterval, now: now)
    mirror = Mirror(table: table)
    answeredAt = heardAt
    wasWhole = heardAt != nil
    for (bucket, since) in held { table.setAdmitDeadline(ofBucket: bucket, to: since + limits.admitAge) }
    phase = .disconnected(retryAt: now)
    positionDue = now
    auditDue = now
    rereading = ScrubSchedule(every: limits.rereadInterval, now: now)
    removalGuard = RemovalGuard(
      share: limits.removalShare, minimum: limits.removalMinimum, window: limits.removalWindow, announced: announced)
    manifestSentAt = now
    feed = ChangeFeed(now: now)
  }

  // MARK: Interface for callers

  /// The time until which keys that are active in the mirror are admitted: for the listeners' threads, which ask the
  /// table directly. Nil as long as nothing was ever read.
  public var admitUntil: Instant? { answeredAt.map { $0 + limits.admitAge } }

  /// When the next ``Event/timePassed`` is needed.
  public var nextWake: Instant? {
    var moments = [barrier.nextDeadline, resyncAt]
    switch phase {
    case .disconnected(let retryAt): moments.append(retryAt)
    case .following:
      moments += [
        barrier.read == nil ? positionDue : nil, barrier.nextRead, mayAudit ? auditDue : nil,
        mayReread ? rereading.due : nil,
      ]
    case .connecting, .comparing, .reading, .shutDown: break
    }
    return moments.compactMap { $0 }.min()
  }

  // MARK: Events

  /// Handles one event, and returns the commands to carry out, in order.
  public mutating func handle(_ event: Event, now: Instant) -> [Command] {
    var commands: [Command] = []
    #if SLUICE_MUTANTS
      lastEvent = now
      if Mutant.active == .freshOfAnything, answeredAt != nil, event.isReply { answeredAt = now }
      let event = Mutant.active == .formerSession ? taken(event) : event
    #endif
    switch event {
    case .connected(let session): connected(session, now: now, &commands)
    case .disconnected(let session, let reason):
      if session == self.session { disconnected(because: reason, now: now, &commands) }
    case .manifest(let session, let read, let result):
      if session == self.session, read == manifestRead { manifestCame(result, now: now, &commands) }
    case .bucket(let session, let index, let result):
      if session == self.session { bucketCame(index, result, now: now, &commands) }
    case .position(let session, let read, let fence, let result):
      guard session == self.session else { break }
      let known = remembering(fence, &commands)
      if read == barrier.read?.number { positionCame(known, result, now: now, &commands) }
    case .changes(let session, let result):
      if session == self.session { changesCame(result, now: now, &commands) }
    case .asked(let question): asked(question, now: now, &commands)
    case .timePassed: timePassed(now: now, &commands)
    case .shutDown:
      phase = .shutDown
      resyncAt = nil
      answerAll(.shuttingDown, &commands)
      commands.append(.disconnect(session))
    }
    return commands
  }

  #if SLUICE_MUTANTS
    var lastEvent: Instant?

    /// The event as if it belonged to the present connection, and to the read in flight.
    func taken(_ event: Event) -> Event {
      switch event {
      case .manifest(_, _, let result): .manifest(session, read: manifestRead, result)
      case .bucket(_, let index, let result): .bucket(session, index, result)
      case .position(_, _, let fence, let result):
        .position(session, read: barrier.read?.number ?? 0, fence, result)
      case .changes(_, let result): .changes(session, result)
      default: event
      }
    }
  #endif

  // MARK: Connecting

  mutating func connect(_ commands: inout [Command]) {
    session += 1
    phase = .connecting
    commands.append(.connect(session))
  }

  mutating func connected(_ session: ConnectionID, now: Instant, _ commands: inout [Command]) {
    switch phase {
    case .connecting where session == self.session: break
    // A repeated event: the current phase continues.
    case .comparing where session == self.session, .reading where session == self.session,
      .following where session == self.session:
      return
    case .connecting, .comparing, .reading, .following, .disconnected, .shutDown:
      commands.append(.disconnect(session))
      return
    }
    commands.append(.note(.connected))
    feed.reconnected()
    // It may be another server, whose replicas weren't read yet.
    unfenced = nil
    isFirstComparison = true
    compare(because: "connected", now: now, &commands)
  }

  mutating func disconnected(because reason: String, now: Instant, _ commands: inout [Command]) {
    switch phase {
    case .disconnected, .shutDown: return
    case .connecting, .comparing, .reading, .following: break
    }
    // Once per outage: a log that repeats itself hides other lines.
    if failures == 0 || awayReason != reason { commands.append(.note(.storeAway(reason))) }
    awayReason = reason
    resyncAt = nil
    auditing = false
    phase = .disconnected(retryAt: now + nextRetry())
    answerAll(.storeAway(reason), &commands)
  }

  // MARK: Comparing

  mutating func compare(because reason: String, now: Instant, _ commands: inout [Command]) {
    phase = .comparing(reason: reason)
    resyncAt = nil
    auditing = false
    // Reads in flight, and the waiting questions, are about the mirror until now, which may be of another history.
    feed.restarted()
    rereading.giveUp()
    positionFailure = nil
    saidComplete = false
    answerAll(objectionToRefusing ?? .diverged(reason), &commands)
    readManifest(now: now, &commands)
  }

  mutating func readManifest(now: Instant, _ commands: inout [Command]) {
    manifestRead += 1
    manifestSentAt = now
    commands.append(.readManifest(session, read: manifestRead))
  }

  /// There is a contradiction. Compares everything again, at once the first time, later if it is repeated.
  mutating func resync(because reason: String, now: Instant, _ commands: inout [Command]) {
    commands.append(.note(.resync(reason)))
    answerAll(.diverged(reason), &commands)
    feed.breakOff()
    if failures == 0 {
      failures = 1
      compare(because: reason, now: now, &commands)
    } else {
      trouble = .diverged(reason)
      retryCompare(now: now)
    }
  }

  /// Waits before the manifest is read again. The mirror stays in use.
  mutating func retryCompare(now: Instant) {
    // Further problems in the meantime don't delay it.
    if resyncAt == nil { resyncAt = now + nextRetry() }
  }

  mutating func manifestCame(
    _ result: Result<StoreAnswer<Manifest>, ReadFailure>, now: Instant, _ commands: inout [Command]
  ) {
    if auditing, case .following = phase {
      auditing = false
      audited(result, now: now, &commands)
      return
    }
    guard case .comparing(let reason) = phase, resyncAt == nil else { return }
    switch result {
    case .failure(let failure):
      // It isn't an answer about the store. The known state stays.
      noteReadFailure(failure, &commands)
      retryCompare(now: now)
    case .success(.noStore):
      setTrouble(.noStore, "there is no key store in this Redis", &commands)
      retryCompare(now: now)
    case .success(.incompatible(let why)):
      setTrouble(.incompatible(why), why, &commands)
      retryCompare(now: now)
    case .success(.found(let manifest)):
      guard manifest.buckets.count == mirror.table.bucketCount else {
        let why = "the store has \(manifest.buckets.count) buckets, this build expects \(mirror.table.bucketCount)"
        setTrouble(.incompatible(why), why, &commands)
        retryCompare(now: now)
        return
      }
      lastReadFailure = nil
      // After a restart the mirror's history is unknown.
      let isOtherHistory = mirror.epoch.map { $0 != manifest.position.epoch } ?? false
      if mirror.epoch != manifest.position.epoch {
        removalGuard.forgetConfirmation()
        unrecordedReplicas = 0
      }
      let wasGuarded = !removalGuard.quarantined.isEmpty
      removalGuard.heard(
        announced: manifest.position.announced, confirmed: manifest.position.confirmed, isOtherHistory: isOtherHistory)
      if wasGuarded, removalGuard.quarantined.isEmpty { commands.append(.note(.guardReleased)) }
      if isFirstComparison, let why = mirror.historyMismatch(of: manifest) { commands.append(.note(.resync(why))) }
      isFirstComparison = false
      // The mirrored content of buckets that differ keeps its age, until they have been read.
      let differing = mirror.compare(with: manifest, holdingUntil: admitUntil)
      answered(manifestSentAt)
      storeVersion = manifest.position.version
      replicas = manifest.position.replicas
      if !differing.isEmpty, trouble == nil {
        commands.append(.note(.reading(buckets: differing.count, reason: reason)))
      }
      phase = .reading(Reading(manifest: manifest, pending: differing[...]))
      readMore(now: now, &commands)
    }
  }

  // MARK: Reading

  mutating func readMore(now: Instant, _ commands: inout [Command]) {
    guard case .reading(var reading) = phase else { return }
    while reading.inFlight.count < limits.bucketsInFlight, let next = reading.pending.popFirst() {
      commands.append(.readBucket(session, next))
      reading.inFlight.insert(next)
      #if SLUICE_MUTANTS
        if Mutant.active == .refreshInPlace { mirror.table.install(BucketTable(), asBucket: next) }
      #endif
    }
    phase = .reading(reading)
    if reading.inFlight.isEmpty { follow(after: reading, now: now, &commands) }
  }

  mutating func bucketCame(
    _ index: Int, _ result: Result<RawBucket, ReadFailure>, now: Instant, _ commands: inout [Command]
  ) {
    if case .following = phase, rereading.inFlight == index {
      reread(index, result, now: now, &commands)
      return
    }
    // A repeated reply counts once. Otherwise buckets still in flight would count as read.
    guard case .reading(var reading) = phase, reading.inFlight.remove(index) != nil else { return }
    #if SLUICE_MUTANTS
      if Mutant.active == .failedReadIsEmpty, case .failure = result {
        mirror.table.install(BucketTable(), asBucket: index)
      }
    #endif
    let refusal: String? =
      switch result {
      case .success(let raw):
        mirror.install(raw, asBucket: index, listedIn: reading.manifest, admittedUntil: admitUntil)
      case .failure(let failure): "bucket \(index): \(failure)"
      }
    if let refusal {
      reading.refused.append(refusal)
      // The same problem is reported once.
      if reading.refused.count <= 3, trouble == nil { commands.append(.note(.bucketRefused(refusal))) }
    }
    noteMovements(now: now, &commands)
    phase = .reading(reading)
    readMore(now: now, &commands)
  }

  mutating func follow(after reading: Reading, now: Instant, _ commands: inout [Command]) {
    phase = .following
    positionDue = now + limits.positionInterval
    auditDue = now + limits.auditInterval
    rereading.postpone(from: now)
    if let first = reading.refused.first {
      let why = reading.refused.count == 1 ? first : "\(first), and \(reading.refused.count - 1) more"
      setTrouble(.diverged(why), why, &commands)
      retryCompare(now: now)
    } else if let objection = mirror.finishedReading(of: reading.manifest) {
      setTrouble(.diverged(objection), objection, &commands)
      retryCompare(now: now)
    } else {
      trouble = damageTrouble
    }
    noteMovements(now: now, &commands)
    readChanges(now: now, &commands)
    noteCompleteness(&commands)
  }

  // MARK: Following

  mutating func readChanges(now: Instant, _ commands: inout [Command]) {
    guard feed.mayRead, case .following = phase else { return }
    feed.sent(at: now)
    commands.append(.readChanges(session, after: mirror.applied))
  }

  mutating func changesCame(
    _ result: Result<[Change], ReadFailure>, now: Instant, _ commands: inout [Command]
  ) {
    let counts = feed.came()
    guard case .following = phase else { return }
    guard counts else {
      readChanges(now: now, &commands)
      return
    }
    switch result {
    case .failure(let failure):
      resync(because: "the changes can't be read: \(failure)", now: now, &commands)
    case .success(let changes):
      feed.read()
      for change in changes {
        let application = mirror.apply(change)
        if change.isAgreed, application == .applied { removalGuard.agreed() }
        noteMovements(now: now, &commands)
        switch application {
        case .applied:
          hear(change, &commands)
          answerReached(&commands)
          if let why = reachedExpected() {
            resync(because: why, now: now, &commands)
            return
          }
        case .hole(let expected, let came):
          let why = "expected version \(expected), got \(came): versions are missing from the change stream"
          resync(because: why, now: now, &commands)
          return
        case .disagreement(let why):
          resync(because: why, now: now, &commands)
          return
        }
      }
      if let last = changes.last {
        storeVersion = max(storeVersion ?? 0, last.version)
      } else if let version = feed.missing(after: mirror.applied) {
        let why = "the store is at version \(version), but its stream has nothing after \(mirror.applied)"
        resync(because: why, now: now, &commands)
        return
      }
      noteCompleteness(&commands)
      readChanges(now: now, &commands)
    }
  }

  /// Called when the mirror has reached the version of a position read.
  /// - Returns: Why this is another history's version than the one that was read; nil if it isn't.
  mutating func reachedExpected() -> String? {
    guard let expected = feed.reached(mirror.applied) else { return nil }
    if mirror.isComplete, let why = disagreement(with: expected.position) { return why }
    answered(expected.readSentAt)
    return nil
  }

  mutating func readPosition(now: Instant, _ commands: inout [Command]) {
    // No refusal rests on a periodic read, so it needs no write.
    let fencedBy = barrier.isWaitedFor || unfenced != nil ? Fence.needed(of: replicas) : 0
    barrier.sent(at: now, applied: mirror.applied, fencedBy: fencedBy)
    positionDue = now + limits.positionInterval
    commands.append(.readPosition(session, read: barrier.readsSent, fencedBy: fencedBy))
  }

  mutating func positionCame(
    _ fence: Fence, _ result: Result<StoreAnswer<StorePosition>, ReadFailure>, now: Instant,
    _ commands: inout [Command]
  ) {
    // A comparison abandons the read in flight, so this is one of the mirror that is followed now.
    guard case .following = phase, let read = barrier.read else { return }
    switch result {
    case .failure(let failure):
      noteReadFailure(failure, &commands)
      positionFailure = failure.description
      answer(barrier.failed(), .barrierFailed("\(failure)"), &commands)
    case .success(.noStore):
      answer(barrier.failed(), .noStore, &commands)
      setTrouble(.noStore, "the key store has vanished from this Redis", &commands)
      if resyncAt == nil { compare(because: "the store vanished", now: now, &commands) }
    case .success(.incompatible(let why)):
      answer(barrier.failed(), .incompatible(why), &commands)
      setTrouble(.incompatible(why), why, &commands)
      if resyncAt == nil { compare(because: why, now: now, &commands) }
    case .success(.found(let position)):
      if let why = contradiction(with: position, read: read) {
        answer(barrier.failed(), .diverged(why), &commands)
        if resyncAt == nil { resync(because: why, now: now, &commands) }
        break
      }
      lastReadFailure = nil
      positionFailure = nil
      storeVersion = position.version
      replicas = position.replicas
      #if SLUICE_MUTANTS
        let isOvertaken = position.version < mirror.applied && Mutant.active != .answeredPastVersion
      #else
        let isOvertaken = position.version < mirror.applied
      #endif
      let isFenced = read.fencedBy >= Fence.needed(of: position.replicas)
      if isOvertaken || read.isWaitedFor && !isFenced {
        barrier.readAgain()
        break
      }
      if position.version == mirror.applied {
        // While a comparison is due, the mirror may be of a history that the store has left.
        if resyncAt == nil { answered(read.sentAt) }
        if mirror.isComplete, trouble == nil, feed.wasAnswered { failures = 0 }
      } else {
        feed.expect(
          ChangeFeed.Expected(position: position, since: now, readSentAt: read.sentAt))
      }
      if isFenced { noteFence(fence.objection(declared: position.replicas), &commands) }
      if let unfenced {
        answer(barrier.failed(), .unfenced(unfenced), &commands)
      } else {
        barrier.answered(position)
        answerReached(&commands)
      }
    }
    if barrier.wantsRead(at: now), case .following = phase { readPosition(now: now, &commands) }
  }

  /// The fence, with the replicas that were seen before. Their number must be in the store before a replica that was
  /// seen can have been promoted and forgotten.
  mutating func remembering(_ fence: Fence, _ commands: inout [Command]) -> Fence {
    #if SLUICE_MUTANTS
      if Mutant.active == .forgottenReplicas { return fence }
    #endif
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

  mutating func noteFence(_ objection: String?, _ commands: inout [Command]) {
    #if SLUICE_MUTANTS
      if Mutant.active == .noFence { return }
    #endif
    guard unfenced != objection else { return }
    unfenced = objection
    commands.append(.note(objection.map { .unfenced($0) } ?? .fenced))
  }

  /// Why this position can't belong to the mirrored history; nil if it can.
  func contradiction(with position: StorePosition, read: Barrier.Read) -> String? {
    #if SLUICE_MUTANTS
      if Mutant.active == .ignoredRewind, position.epoch == mirror.epoch, position.version < mirror.applied {
        return nil
      }
      var position = position
      if Mutant.active == .ignoredEpoch { position.epoch = mirror.epoch ?? position.epoch }
    #endif
    if position.epoch != mirror.epoch {
      return "the store has another history: epoch \(position.epoch) instead of \(mirror.epoch ?? "none")"
    }
    if position.version < read.appliedThen {
      return "the store went back from version \(read.appliedThen) to \(position.version)"
    }
    if position.version < mirror.floor {
      return "a bucket says it was changed at version \(mirror.floor), but the store is at \(position.version)"
    }
    guard position.version == mirror.applied, mirror.isComplete else { return nil }
    return disagreement(with: position)
  }

  /// The difference between the complete mirror and the store's position at the mirror's version; nil if there is none.
  /// Digests alone don't show it: not every change is one of a record, and versions may have been used twice.
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

  /// Records that a read of the mirrored history was answered, with a version that the mirror has reached.
  mutating func answered(_ sentAt: Instant) {
    #if SLUICE_MUTANTS
      if Mutant.active == .freshOfAnswer, let lastEvent {
        answeredAt = lastEvent
        return
      }
    #endif
    answeredAt = max(answeredAt ?? sentAt, sentAt)
  }

  mutating func noteReadFailure(_ failure: ReadFailure, _ commands: inout [Command]) {
    guard lastReadFailure != failure.description else { return }
    lastReadFailure = failure.description
    commands.append(.note(.readFailed(failure.description)))
  }

  mutating func noteCompleteness(_ commands: inout [Command]) {
    if mirror.isComplete, mirror.sealed { wasWhole = true }
    guard !saidComplete, completeness == .complete, let epoch = mirror.epoch else { return }
    saidComplete = true
    commands.append(
      .note(.complete(keys: mirror.count, version: mirror.applied, epoch: epoch, sealed: mirror.sealed)))
  }

  // MARK: Time

  mutating func timePassed(now: Instant, _ commands: inout [Command]) {
    answer(barrier.expired(at: now), .barrierTimedOut, &commands)
    if let resyncAt, resyncAt <= now {
      compare(because: "again", now: now, &commands)
      return
    }
    switch phase {
    case .disconnected(let retryAt) where retryAt <= now:
      connect(&commands)
    case .following:
      if barrier.read == nil, positionDue <= now || barrier.wantsRead(at: now) { readPosition(now: now, &commands) }
      if mayReread, rereading.due <= now { rereadOne(now: now, &commands) }
      if mayAudit, auditDue <= now {
        auditing = true
        readManifest(now: now, &commands)
      }
    case .disconnected, .connecting, .comparing, .reading, .shutDown: break
    }
  }

  mutating func nextRetry() -> Duration {
    #if SLUICE_MUTANTS
      if Mutant.active == .noPause { return .microseconds(10) }
    #endif
    failures += 1
    let doubled = limits.firstRetry * (1 << min(failures - 1, 20))
    let step = min(doubled, limits.lastRetry)
    return step / 2 + .nanoseconds(Int64.random(in: 0...(step / 2).wholeNanoseconds, using: &generator))
  }

  mutating func setTrouble(_ trouble: Trouble, _ words: String, _ commands: inout [Command]) {
    if self.trouble != trouble { commands.append(.note(.trouble(words))) }
    self.trouble = trouble
  }
}

#if SLUICE_MUTANTS
  extension Replica.Event {
    fileprivate var isReply: Bool {
      switch self {
      case .manifest, .bucket, .position, .changes: true
      default: false
      }
    }
  }
#endif
