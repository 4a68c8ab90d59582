// How a node's mirror follows the store: one state machine, and the whole of it.
//
// Events go in, commands come out, and time comes in with each event. It does no I/O and reads no clock, so that a test can
// hold it against a simulated store under any order of events; in a node the driver in KeyStore carries out the commands.
//
//     disconnected ──connect──▶ connecting ──▶ comparing ──▶ reading ──▶ following
//          ▲                        │              │  ▲          │           │
//          └──────── the conversation ended ───────┴──┼──────────┴───────────┤
//                                                     └── hole, disagreement, other history
//
// comparing: the manifest has been asked for; what differs will be known when it comes.
// reading:   the buckets that differ are being read, some at a time; the old ones go on serving.
// following: changes are applied as they come; positions are read now and then, and for the barrier.
//
// What is served in the meantime is decided in two places only: `admission` and `objectionToRefusing`. A key that is
// active in the mirror is admitted in any phase, as long as the mirror isn't too old. A refusal needs everything at once.

/// The synchronisation of one node's mirror with its store.
public struct Replica {
  /// Bounds of everything that waits or repeats.
  public struct Limits: Sendable {
    /// How long a request may wait for a proof.
    public var barrierWait: Duration = .seconds(2)
    /// How many requests may wait for a proof at once.
    public var barrierQueue = 50_000
    /// How old the mirror may be to admit anybody: how long a revoked key may go on if the store is away.
    public var admitAge: Duration = .seconds(3600)
    /// How often the position is read when nobody asks for a proof.
    public var positionInterval: Duration = .milliseconds(500)
    /// How often all digests and lengths are compared while following.
    public var auditInterval: Duration = .seconds(300)
    /// How often one bucket is read again, to see whether somebody edited it: all of them in bucketCount times this.
    public var rereadInterval: Duration = .milliseconds(500)
    /// Removals that nobody announced are quarantined when there are more of them than this share of the active keys, and more than
    /// the minimum, within the window.
    public var removalShare = 0.1
    public var removalMinimum = 100
    public var removalWindow: Duration = .seconds(600)
    /// How many buckets are asked for at once.
    public var bucketsInFlight = 32
    /// The wait after a failure: doubling from the first to the last, with jitter.
    public var firstRetry: Duration = .milliseconds(50)
    public var lastRetry: Duration = .seconds(2)

    public init() {}
  }

  /// A read was answered, but not with what was asked for: an error reply, or something unreadable.
  public struct ReadFailure: Error, Sendable, Hashable, CustomStringConvertible {
    public let description: String
    public init(_ description: String) { self.description = description }
  }

  /// Numbers the conversations, so that what belongs to a former one is told apart.
  public typealias Session = UInt64

  public enum Event: Sendable {
    case connected(Session)
    /// The conversation ended, or couldn't be begun; why, in words.
    case disconnected(Session, reason: String)
    /// With the number that its command had.
    case manifest(Session, read: UInt64, Result<StoreAnswer<Manifest>, ReadFailure>)
    case bucket(Session, Int, Result<RawBucket, ReadFailure>)
    /// With the number that its command had.
    case position(Session, read: UInt64, Result<StoreAnswer<StorePosition>, ReadFailure>)
    /// The changes after the version that was asked for; none if none came within the read's time.
    case changes(Session, Result<[Change], ReadFailure>)
    /// A request wants a verdict for a key that the mirror doesn't hold as active.
    case asked(Question)
    /// The moment that ``nextWake`` named has come, or any other.
    case timePassed
    /// The node is about to end: whoever waits is answered now.
    case shutDown
  }

  public enum Command: Sendable {
    case connect(Session)
    case disconnect(Session)
    case readManifest(Session, read: UInt64)
    case readBucket(Session, Int)
    case readPosition(Session, read: UInt64)
    /// Waits at the store for changes, a bounded time.
    case readChanges(Session, after: UInt64)
    case answer(Question, Verdict)
    /// Something an operator would want to know, for the log.
    case note(Note)
  }

  /// What happened, for the log.
  public enum Note: Sendable, Hashable {
    case connected
    case storeAway(String)
    /// What differs is about to be read.
    case reading(buckets: Int, reason: String)
    case bucketRefused(String)
    case complete(keys: Int, version: UInt64, epoch: String, sealed: Bool)
    case resync(String)
    /// Nobody can be refused until this has been put right.
    case trouble(String)
    /// Removals have become too many, and are quarantined from here on.
    case guarded(keys: Int)
    case guardReleased
    /// Keys of a bucket have vanished without a change that ended them.
    case vanished(keys: Int, bucket: Int)
    /// A read was answered with an error; once for each that is another than the one before.
    case readFailed(String)
  }

  private enum Phase {
    case disconnected(retryAt: Instant)
    case connecting
    case comparing(reason: String)
    case reading(Reading)
    case following
    case shutDown
  }

  private struct Reading {
    let manifest: Manifest
    let manifestSentAt: Instant
    var pending: ArraySlice<Int>
    var inFlight: Set<Int> = []
    var refused: [String] = []
    /// Whether a bucket that holds something couldn't be read at all.
    var keepsOld = false
  }

  /// What stands in the way of a complete mirror, beyond its not having been read yet.
  private enum Trouble: Equatable {
    case noStore
    case incompatible(String)
    case diverged(String)
  }

  private let limits: Limits
  private var generator: Jitter
  private var mirror: Mirror
  private var barrier = Barrier()
  private var phase: Phase
  private var session: Session = 0
  private var trouble: Trouble?
  private var failures = 0
  private var awayReason = "not connected yet"
  private var lastReadFailure: String?

  /// When the manifest is to be read again although the conversation goes on.
  private var resyncAt: Instant?
  /// When the last read of this history was sent that has been answered and reached; nil if there never was one.
  private var answeredAt: Instant?
  /// Whether a bucket is as old as it was before the last comparison, because it couldn't be read.
  private var keepsOldBuckets = false
  private var storeVersion: UInt64?
  private var positionDue: Instant
  private var auditDue: Instant
  private var auditing = false
  /// The manifest read whose answer counts; a later one makes it void.
  private var manifestRead: UInt64 = 0
  private var manifestSentAt: Instant
  /// Whether a read of changes is on its way, and whether what it brings still counts.
  private var feed: (reading: Bool, counts: Bool) = (false, false)
  /// Whether the stream could be read since the last comparison. Without it a stream that can't would be tried
  /// again and again without a pause.
  private var feedAnswered = false
  private var feedSentAt: Instant
  /// The stream can't be followed on from here: the manifest has to be compared first.
  private var feedBroken = false
  /// A position read said that the store is at this version; a later read of changes must bring it. The oldest one that hasn't
  /// been reached.
  private var expected: (version: UInt64, digest: Digest, since: Instant, readSentAt: Instant)?
  private var saidComplete = false
  private var removalGuard: RemovalGuard
  /// Keys whose records have vanished, until their bucket was read once more and vouches for it.
  private var vanished: [KeyPrefix: Int] = [:]
  private var violations: UInt64 = 0
  /// The bucket that is being read again, the one that comes next, and when.
  private var rereading: Int?
  private var rereadNext = 0
  private var rereadDue: Instant
  /// Buckets that aren't what they say they are, although the mirror has what they should be.
  private var damaged: [Int: String] = [:]

  /// - Parameters:
  ///   - table: Where the mirror is kept; read by others, written by this alone.
  ///   - heardAt: Where the table was restored from an image: when the store had last been heard before it was taken.
  ///   - announced: And how many removals had been announced by then.
  ///   - seed: For the jitter of retries.
  public init(
    table: KeyTable, limits: Limits = Limits(), restoredFrom heardAt: Instant? = nil, announced: UInt64? = nil,
    seed: UInt64, now: Instant
  ) {
    precondition(limits.bucketsInFlight > 0, "with no bucket in flight nothing would ever be read")
    self.limits = limits
    generator = Jitter(state: seed)
    mirror = Mirror(table: table)
    answeredAt = heardAt
    phase = .disconnected(retryAt: now)
    positionDue = now
    auditDue = now
    rereadDue = now
    removalGuard = RemovalGuard(
      share: limits.removalShare, minimum: limits.removalMinimum, window: limits.removalWindow, announced: announced)
    manifestSentAt = now
    feedSentAt = now
  }

  // MARK: What is asked of it from outside

  /// Until when keys that are active in the mirror are admitted: a bound for the listeners' threads, which ask the table directly.
  /// Nil as long as nothing was ever read.
  public var admitUntil: Instant? { answeredAt.map { $0 + limits.admitAge } }

  /// When ``Event/timePassed`` is wanted next.
  public var nextWake: Instant? {
    var moments = [barrier.nextDeadline, resyncAt]
    switch phase {
    case .disconnected(let retryAt): moments.append(retryAt)
    case .following:
      moments += [barrier.read == nil ? positionDue : nil, mayAudit ? auditDue : nil, mayReread ? rereadDue : nil]
    case .connecting, .comparing, .reading, .shutDown: break
    }
    return moments.compactMap { $0 }.min()
  }

  /// How many removals the store had announced when it was last heard, for the state file.
  public var announced: UInt64? { removalGuard.announced }

  public func status(at now: Instant) -> ReplicaStatus {
    ReplicaStatus(
      completeness: completeness, verifiedBuckets: mirror.verifiedCount, totalBuckets: mirror.table.bucketCount,
      sealed: mirror.sealed, keys: mirror.count, accounts: mirror.table.accountCount, epoch: mirror.epoch,
      version: mirror.applied, storeVersion: storeVersion, age: answeredAt.map { now - $0 },
      objection: objectionToRefusing, barrierReads: barrier.readsSent, barrierWaiting: barrier.count,
      quarantined: removalGuard.quarantined.count, violations: violations)
  }

  private var completeness: ReplicaStatus.Completeness {
    if case .incompatible = trouble { return .incompatible }
    if mirror.epoch == nil, mirror.count == 0 { return .empty }
    if trouble != nil { return .diverged }
    if mirror.isComplete { return removalGuard.quarantined.isEmpty ? .complete : .guarded }
    return mirror.epoch == nil ? .restored : .loading
  }

  /// Why nobody may be refused now; nil if all that a refusal needs is there, except for the barrier itself.
  private var objectionToRefusing: Undecided? {
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
    return mirror.sealed ? nil : .unsealed
  }

  // MARK: Events

  /// Takes one event, and returns what must be done, in order.
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
    case .position(let session, let read, let result):
      if session == self.session, read == barrier.read?.number { positionCame(result, now: now, &commands) }
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
    private var lastEvent: Instant?

    /// The event as if it were of the present conversation, and of the read that is on its way.
    private func taken(_ event: Event) -> Event {
      switch event {
      case .manifest(_, _, let result): .manifest(session, read: manifestRead, result)
      case .bucket(_, let index, let result): .bucket(session, index, result)
      case .position(_, _, let result): .position(session, read: barrier.read?.number ?? 0, result)
      case .changes(_, let result): .changes(session, result)
      default: event
      }
    }
  #endif

  // MARK: Connecting

  private mutating func connect(_ commands: inout [Command]) {
    session += 1
    phase = .connecting
    commands.append(.connect(session))
  }

  private mutating func connected(_ session: Session, now: Instant, _ commands: inout [Command]) {
    switch phase {
    case .connecting where session == self.session: break
    // Said twice: what goes on in it goes on.
    case .comparing where session == self.session, .reading where session == self.session,
      .following where session == self.session:
      return
    case .connecting, .comparing, .reading, .following, .disconnected, .shutDown:
      commands.append(.disconnect(session))
      return
    }
    commands.append(.note(.connected))
    feed = (false, false)
    compare(because: "connected", now: now, &commands)
  }

  private mutating func disconnected(because reason: String, now: Instant, _ commands: inout [Command]) {
    switch phase {
    case .disconnected, .shutDown: return
    case .connecting, .comparing, .reading, .following: break
    }
    // Once per outage: a log that repeats itself hides what else happened.
    if failures == 0 || awayReason != reason { commands.append(.note(.storeAway(reason))) }
    awayReason = reason
    resyncAt = nil
    auditing = false
    phase = .disconnected(retryAt: now + nextRetry())
    answerAll(.storeAway(reason), &commands)
  }

  // MARK: Comparing

  private mutating func compare(because reason: String, now: Instant, _ commands: inout [Command]) {
    phase = .comparing(reason: reason)
    resyncAt = nil
    auditing = false
    feed.counts = false
    feedBroken = false
    feedAnswered = false
    rereading = nil
    // Of what was mirrored until now, as are the versions that questions wait for: it may have been another history.
    expected = nil
    saidComplete = false
    answerAll(objectionToRefusing ?? .diverged(reason), &commands)
    readManifest(now: now, &commands)
  }

  private mutating func readManifest(now: Instant, _ commands: inout [Command]) {
    manifestRead += 1
    manifestSentAt = now
    commands.append(.readManifest(session, read: manifestRead))
  }

  /// Something doesn't fit. Compare everything again, at once the first time, later if it keeps happening.
  private mutating func resync(because reason: String, now: Instant, _ commands: inout [Command]) {
    commands.append(.note(.resync(reason)))
    answerAll(.diverged(reason), &commands)
    feedBroken = true
    if failures == 0 {
      failures = 1
      compare(because: reason, now: now, &commands)
    } else {
      trouble = .diverged(reason)
      retryCompare(now: now)
    }
  }

  /// Waits before the manifest is read again; what is mirrored goes on serving.
  private mutating func retryCompare(now: Instant) {
    // Not put off by what goes wrong in the meantime.
    if resyncAt == nil { resyncAt = now + nextRetry() }
  }

  private mutating func manifestCame(
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
      // Not an answer about the store at all. What was known of it stays known.
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
      if mirror.epoch != manifest.position.epoch { removalGuard.forgetConfirmation() }
      let wasGuarded = !removalGuard.quarantined.isEmpty
      removalGuard.heard(announced: manifest.position.announced, confirmed: manifest.position.confirmed)
      if wasGuarded, removalGuard.quarantined.isEmpty { commands.append(.note(.guardReleased)) }
      let wasEmpty = mirror.count == 0
      let differing = mirror.compare(with: manifest)
      // What is held of buckets that differ is as old as it was, until they have been read.
      if wasEmpty || differing.isEmpty {
        keepsOldBuckets = false
        answered(manifestSentAt)
      }
      storeVersion = manifest.position.version
      if !differing.isEmpty, trouble == nil {
        commands.append(.note(.reading(buckets: differing.count, reason: reason)))
      }
      phase = .reading(
        Reading(manifest: manifest, manifestSentAt: manifestSentAt, pending: differing[...]))
      readMore(now: now, &commands)
    }
  }

  // MARK: Reading

  private mutating func readMore(now: Instant, _ commands: inout [Command]) {
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

  private mutating func bucketCame(
    _ index: Int, _ result: Result<RawBucket, ReadFailure>, now: Instant, _ commands: inout [Command]
  ) {
    if case .following = phase, rereading == index {
      reread(index, result, now: now, &commands)
      return
    }
    // One that came twice counts once, or those still on their way would be taken for read.
    guard case .reading(var reading) = phase, reading.inFlight.remove(index) != nil else { return }
    #if SLUICE_MUTANTS
      if Mutant.active == .failedReadIsEmpty, case .failure = result {
        mirror.table.install(BucketTable(), asBucket: index)
      }
    #endif
    let refusal: String? =
      switch result {
      case .success(let raw): mirror.install(raw, asBucket: index, listedIn: reading.manifest)
      case .failure(let failure): "bucket \(index): \(failure)"
      }
    if case .failure = result, mirror.table.contents(ofBucket: index).count > 0 { reading.keepsOld = true }
    if let refusal {
      reading.refused.append(refusal)
      // While it goes on the same, it was said already.
      if reading.refused.count <= 3, trouble == nil { commands.append(.note(.bucketRefused(refusal))) }
    }
    noteMovements(now: now, &commands)
    phase = .reading(reading)
    readMore(now: now, &commands)
  }

  private mutating func follow(after reading: Reading, now: Instant, _ commands: inout [Command]) {
    phase = .following
    positionDue = now + limits.positionInterval
    auditDue = now + limits.auditInterval
    keepsOldBuckets = reading.keepsOld
    if vanished.isEmpty { rereadDue = now + limits.rereadInterval }
    answered(reading.manifestSentAt)
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
    readChanges(now: now, &commands)
    noteCompleteness(&commands)
  }

  // MARK: Following

  private mutating func readChanges(now: Instant, _ commands: inout [Command]) {
    // The one on its way first: a conversation answers in order.
    guard !feed.reading, !feedBroken, case .following = phase else { return }
    feed = (reading: true, counts: true)
    feedSentAt = now
    commands.append(.readChanges(session, after: mirror.applied))
  }

  private mutating func changesCame(
    _ result: Result<[Change], ReadFailure>, now: Instant, _ commands: inout [Command]
  ) {
    let counted = feed.counts
    feed = (false, false)
    guard case .following = phase else { return }
    guard counted else {
      readChanges(now: now, &commands)
      return
    }
    switch result {
    case .failure(let failure):
      resync(because: "the changes can't be read: \(failure)", now: now, &commands)
    case .success(let changes):
      feedAnswered = true
      for change in changes {
        let application = mirror.apply(change)
        noteMovements(now: now, &commands)
        switch application {
        case .applied:
          hear(change, &commands)
          answerReached(&commands)
          guard reachedExpected() else {
            let why = "at version \(mirror.applied) the change stream leads elsewhere than the store's position"
            resync(because: why, now: now, &commands)
            return
          }
        case .hole(let expected, let came):
          let why = "expected version \(expected), but \(came) came: versions are missing from the change stream"
          resync(because: why, now: now, &commands)
          return
        case .disagreement(let why):
          resync(because: why, now: now, &commands)
          return
        }
      }
      if let last = changes.last {
        storeVersion = max(storeVersion ?? 0, last.version)
      } else if let expected, expected.since < feedSentAt, expected.version > mirror.applied {
        let why = "the store is at version \(expected.version), but its stream has nothing after \(mirror.applied)"
        resync(because: why, now: now, &commands)
        return
      }
      noteCompleteness(&commands)
      readChanges(now: now, &commands)
    }
  }

  /// Takes note when the mirror has reached what a position read said.
  /// - Returns: False where changes of one history were followed to a version that was read of another.
  private mutating func reachedExpected() -> Bool {
    guard let expected, expected.version == mirror.applied else { return true }
    self.expected = nil
    if mirror.isComplete, mirror.total != expected.digest { return false }
    answered(expected.readSentAt)
    return true
  }

  private mutating func readPosition(now: Instant, _ commands: inout [Command]) {
    barrier.sent(at: now, applied: mirror.applied)
    positionDue = now + limits.positionInterval
    commands.append(.readPosition(session, read: barrier.readsSent))
  }

  private mutating func positionCame(
    _ result: Result<StoreAnswer<StorePosition>, ReadFailure>, now: Instant, _ commands: inout [Command]
  ) {
    // A comparison gives up the read that is on its way, so this is one of the mirror as it is followed now.
    guard case .following = phase, let read = barrier.read else { return }
    switch result {
    case .failure(let failure):
      noteReadFailure(failure, &commands)
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
      storeVersion = position.version
      #if SLUICE_MUTANTS
        let isOvertaken = position.version < mirror.applied && Mutant.active != .answeredPastVersion
      #else
        let isOvertaken = position.version < mirror.applied
      #endif
      if isOvertaken {
        barrier.overtaken()
        break
      }
      if position.version == mirror.applied {
        // While a comparison is due, what is mirrored may be of a history that the store has left.
        if resyncAt == nil { answered(read.sentAt) }
        if mirror.isComplete, trouble == nil, feedAnswered { failures = 0 }
      } else if expected == nil {
        expected = (position.version, position.digest, now, read.sentAt)
      }
      barrier.answered(version: position.version, digest: position.digest)
      answerReached(&commands)
    }
    if barrier.wantsRead, case .following = phase { readPosition(now: now, &commands) }
  }

  /// Why this position can't be one of the history that is mirrored; nil if it can.
  private func contradiction(with position: StorePosition, read: Barrier.Read) -> String? {
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
    if position.digest != mirror.total {
      return "at version \(position.version) the store's digest is \(position.digest), the mirror's is \(mirror.total)"
    }
    if position.sealed != mirror.sealed {
      return "at version \(position.version) the store is \(position.sealed ? "sealed" : "no longer sealed")"
    }
    return nil
  }

  /// Notes that a read of the mirrored history was answered, with a version that the mirror has reached.
  private mutating func answered(_ sentAt: Instant) {
    // What is left of a former history isn't made any younger by an answer of the present one, nor is a bucket that changed while
    // nobody followed and couldn't be read since.
    guard !mirror.holdsFormerHistory, !keepsOldBuckets else { return }
    #if SLUICE_MUTANTS
      if Mutant.active == .freshOfAnswer, let lastEvent {
        answeredAt = lastEvent
        return
      }
    #endif
    answeredAt = max(answeredAt ?? sentAt, sentAt)
  }

  private mutating func noteReadFailure(_ failure: ReadFailure, _ commands: inout [Command]) {
    guard lastReadFailure != failure.description else { return }
    lastReadFailure = failure.description
    commands.append(.note(.readFailed(failure.description)))
  }

  private mutating func audited(
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
      // What can't be audited can't vouch for refusals either.
      resync(because: "the audit can't be read: \(failure)", now: now, &commands)
    }
  }

  /// While a comparison is due anyway, an audit would tell nothing.
  private var mayAudit: Bool { !auditing && resyncAt == nil }

  // MARK: Removals

  private mutating func hear(_ change: Change, _ commands: inout [Command]) {
    switch change.effect {
    case .announce(let removals): removalGuard.announce(removals)
    case .confirm:
      if !removalGuard.quarantined.isEmpty { commands.append(.note(.guardReleased)) }
      removalGuard.confirm(upTo: change.version)
    case .put, .purge, .seal, .undecodable: break
    }
  }

  private mutating func noteMovements(now: Instant, _ commands: inout [Command]) {
    let (removals, returns) = mirror.takeMovements()
    for key in returns {
      removalGuard.returned(key)
      vanished[key] = nil
    }
    for removal in removals {
      if removalGuard.note(removal, active: mirror.activeCount, now: now) {
        commands.append(.note(.guarded(keys: removalGuard.quarantined.count)))
      }
      if removal.vanished { vanished[removal.key] = removal.bucket }
    }
    let gone = removals.count(where: \.vanished)
    guard gone > 0, let bucket = removals.first(where: \.vanished)?.bucket else { return }
    violations += UInt64(gone)
    commands.append(.note(.vanished(keys: gone, bucket: bucket)))
    // Not in its turn, but at once: somebody may be waiting for it.
    rereadDue = now
  }

  // MARK: Reading again

  private var mayReread: Bool { rereading == nil && resyncAt == nil }

  private var damageTrouble: Trouble? { damaged.min { $0.key < $1.key }.map { .diverged($0.value) } }

  private mutating func rereadOne(now: Instant, _ commands: inout [Command]) {
    let index: Int
    // First the ones that something depends on.
    if let bucket = vanished.values.min() ?? damaged.keys.min() {
      index = bucket
    } else {
      index = rereadNext
      rereadNext = (rereadNext + 1) % mirror.table.bucketCount
    }
    rereading = index
    commands.append(.readBucket(session, index))
  }

  private mutating func reread(
    _ index: Int, _ result: Result<RawBucket, ReadFailure>, now: Instant, _ commands: inout [Command]
  ) {
    rereading = nil
    rereadDue = now + limits.rereadInterval
    switch result {
    case .failure(let failure): noteReadFailure(failure, &commands)
    case .success(let raw):
      switch mirror.reread(raw, bucket: index) {
      case .sound(let asMirrored):
        if asMirrored { vanished = vanished.filter { $0.value != index } }
        guard damaged.removeValue(forKey: index) != nil, resyncAt == nil else { break }
        trouble = damageTrouble
        noteCompleteness(&commands)
      case .unsound(let why):
        damaged[index] = why
        answerAll(.diverged(why), &commands)
        setTrouble(.diverged(why), why, &commands)
      case .differs:
        mirror.distrust(buckets: [index])
        resync(because: "bucket \(index) was read again and isn't what is mirrored", now: now, &commands)
      }
    }
    // Somebody may be waiting for it, but not so much that the store is asked without a pause.
    if !vanished.isEmpty { rereadDue = min(rereadDue, now + .milliseconds(50)) }
  }

  private mutating func noteCompleteness(_ commands: inout [Command]) {
    guard !saidComplete, completeness == .complete, let epoch = mirror.epoch else { return }
    saidComplete = true
    commands.append(
      .note(.complete(keys: mirror.count, version: mirror.applied, epoch: epoch, sealed: mirror.sealed)))
  }

  // MARK: Questions

  private mutating func asked(_ question: Question, now: Instant, _ commands: inout [Command]) {
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
        let read = Barrier.Reached(version: mirror.applied, digest: mirror.total, readSentAt: now)
        commands.append(.answer(question, verdict(of: question.key, by: read)))
        return
      }
    #endif
    guard barrier.count < limits.barrierQueue else {
      commands.append(.answer(question, .undecided(.tooManyWaiting(limit: limits.barrierQueue))))
      return
    }
    barrier.add(question, deadline: now + limits.barrierWait)
    if barrier.wantsRead { readPosition(now: now, &commands) }
  }

  /// Admits a key that is active in the mirror, unless the mirror is too old; nil if the key isn't active in it.
  private func admission(of key: KeyID, now: Instant) -> Verdict? {
    let account: String
    if let (state, name) = mirror.table.find(key), state == .active {
      account = name
    } else if let name = removalGuard.quarantined[KeyPrefix(key)] {
      account = name
    } else {
      return nil
    }
    #if SLUICE_MUTANTS
      if Mutant.active == .unboundedAge { return .admit(account: account) }
    #endif
    guard let admitUntil, now < admitUntil else {
      return .undecided(.stale(answeredAt.map { now - $0 } ?? limits.admitAge))
    }
    return .admit(account: account)
  }

  private mutating func answerReached(_ commands: inout [Command]) {
    for (question, read) in barrier.reached(mirror.applied) {
      commands.append(.answer(question, verdict(of: question.key, by: read)))
    }
  }

  /// The verdict for a key whose barrier's read has been answered and reached.
  private func verdict(of key: KeyID, by read: Barrier.Reached) -> Verdict {
    let found = mirror.table.find(key)
    if let found, found.state == .active { return .admit(account: found.account) }
    if let account = removalGuard.quarantined[KeyPrefix(key)] { return .admit(account: account) }
    if vanished[KeyPrefix(key)] != nil { return .undecided(.vanished) }
    if let objection = objectionToRefusing { return .undecided(objection) }
    #if SLUICE_MUTANTS
      let read =
        Mutant.active == .answeredPastVersion
        ? Barrier.Reached(version: read.version, digest: mirror.total, readSentAt: read.readSentAt) : read
    #endif
    guard let epoch = mirror.epoch, read.digest == mirror.total else {
      return .undecided(.diverged("at version \(read.version) the store's digest was \(read.digest)"))
    }
    let proof = Proof(epoch: epoch, version: read.version, asOf: read.readSentAt)
    switch found?.state {
    case .suspended: return .refuse(.suspendedKey, proof)
    case .revoked: return .refuse(.revokedKey, proof)
    case .active, nil: return .refuse(.unknownKey, proof)
    }
  }

  private mutating func answerAll(_ why: Undecided, _ commands: inout [Command]) {
    #if SLUICE_MUTANTS
      if Mutant.active == .keptQuestions, why != .shuttingDown { return }
    #endif
    answer(barrier.giveUp(), why, &commands)
  }

  private func answer(_ questions: [Question], _ why: Undecided, _ commands: inout [Command]) {
    commands += questions.map { .answer($0, .undecided(why)) }
  }

  // MARK: Time

  private mutating func timePassed(now: Instant, _ commands: inout [Command]) {
    answer(barrier.expired(at: now), .barrierTimedOut, &commands)
    if let resyncAt, resyncAt <= now {
      compare(because: "again", now: now, &commands)
      return
    }
    switch phase {
    case .disconnected(let retryAt) where retryAt <= now:
      connect(&commands)
    case .following:
      if barrier.read == nil, positionDue <= now { readPosition(now: now, &commands) }
      if mayReread, rereadDue <= now { rereadOne(now: now, &commands) }
      if mayAudit, auditDue <= now {
        auditing = true
        readManifest(now: now, &commands)
      }
    case .disconnected, .connecting, .comparing, .reading, .shutDown: break
    }
  }

  private mutating func nextRetry() -> Duration {
    #if SLUICE_MUTANTS
      if Mutant.active == .noPause { return .microseconds(10) }
    #endif
    failures += 1
    let doubled = limits.firstRetry * (1 << min(failures - 1, 20))
    let step = min(doubled, limits.lastRetry)
    return step / 2 + .nanoseconds(Int64.random(in: 0...(step / 2).wholeNanoseconds, using: &generator))
  }

  private mutating func setTrouble(_ trouble: Trouble, _ words: String, _ commands: inout [Command]) {
    if self.trouble != trouble { commands.append(.note(.trouble(words))) }
    self.trouble = trouble
  }
}

/// SplitMix64: a generator whose whole state is its seed, for jitter.
struct Jitter: RandomNumberGenerator {
  var state: UInt64

  mutating func next() -> UInt64 {
    state &+= 0x9E37_79B9_7F4A_7C15
    var mixed = state
    mixed = (mixed ^ (mixed >> 30)) &* 0xBF58_476D_1CE4_E5B9
    mixed = (mixed ^ (mixed >> 27)) &* 0x94D0_49BB_1331_11EB
    return mixed ^ (mixed >> 31)
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
