// How a node's mirror follows the store: the complete state machine.
//
// Events go in, commands come out, and each event has its time. The state machine does no I/O and reads no clock, so
// that a test can run it against a simulated store with any order of events. In a node the driver in KeyStore carries
// out the commands.
//
//     disconnected ──connect──▶ connecting ──▶ comparing ──▶ reading ──▶ following
//          ▲                        │              │  ▲          │           │
//          └──────── the connection ended ─────────┴──┼──────────┴───────────┤
//                                                     └── hole, disagreement, other history
//
// comparing: the manifest has been requested. The differences will be known when it arrives. reading:   the buckets
// that differ are being read, some at a time; the old ones stay in use. following: changes are applied as they arrive;
// positions are read periodically, and for the barrier.
//
// The state of each phase is in ReplicaPhase, the work of the phases in ReplicaComparing and ReplicaFollowing, and the
// verdicts on keys in ReplicaVerdicts.

/// The synchronisation of one node's mirror with its store.
public struct Replica {
  /// Why the mirror isn't complete, other than that it hasn't been read yet.
  enum Trouble: Equatable {
    case noStore
    case incompatible(String)
    case wrongStore(WrongStore)
    case diverged(String)
  }

  let limits: Limits
  var phase: Phase
  /// Commands for the current event, in order.
  var commands: [Command] = []

  // Learned state, which is kept in all phases.
  var mirror: Mirror
  var trouble: Trouble?
  /// When the last read of this history was sent that was answered and whose version the mirror has reached; nil if
  /// there never was one.
  private(set) var answeredAt: Instant?
  var storeVersion: UInt64?
  /// The source mark in the last position of this history that was read.
  var source: SourceMark?
  /// The maximum age of the source mark that a store said last, in this process or before a restart; nil for none. It
  /// stays in force until a store says another one, or that there is none.
  var knownMaxAge: Duration?
  /// Whether the store has lost that maximum age.
  var isMaxAgeLost = false
  /// Whether the mirror has ever been a whole sealed store, in this process or before a restart.
  var wasWhole: Bool
  var removalGuard: RemovalGuard
  var losses: StoreLosses
  /// The store that is to be mirrored, and the one that the mirror was compared with last.
  var expected: ExpectedStore
  var met: StoreIdentity?
  /// What the state file says of the mirrored history, until the mirror was compared with the store.
  var memory: StoreMemory?
  /// Whether the store's history went back or is another one since the last comparison: revocations may be undone.
  var wentBack = false
  var refusalValve: RefusalValve
  var scrub: ScrubSchedule
  /// Number of keys whose record vanished without a change that revoked or suspended them.
  var violations: UInt64 = 0
  /// The greatest number of replicas seen, until it is known to be recorded in the store.
  var unrecordedReplicas = 0
  /// Why the last connection ended or couldn't be made.
  var awayReason = "not connected yet"
  var lastReadFailure: String?

  // Limits and counters, which are kept in all phases.
  var generator: Jitter
  /// Number of failures since the mirror was last known to be correct. Each failure makes the next retry wait longer.
  var failures = 0
  var pace: Barrier.Pace
  var session: ConnectionID = 0
  /// The number of the manifest read whose reply counts. Each later read replaces it.
  var manifestRead: UInt64 = 0

  /// - Parameters:
  ///   - table: The mirror's table. Other threads read it, only the replica writes to it.
  ///   - heardAt: If the table was restored from an image: when the store had last answered before the image was made.
  ///   - held: Buckets that the store had changed by then, with the time at which the store last had their content.
  ///   - announced: The number of marked removals by then.
  ///   - storeName: The name of the store that is to be mirrored; nil for any name.
  ///   - memory: What the image says of the store that it was made from.
  ///   - seed: For the jitter of retries.
  public init(
    table: KeyTable, limits: Limits = Limits(), restoredFrom heardAt: Instant? = nil, held: [Int: Instant] = [:],
    announced: UInt64? = nil, storeName: String? = nil, remembering memory: StoreMemory? = nil, seed: UInt64,
    now: Instant
  ) {
    precondition(limits.bucketsInFlight > 0, "with no bucket in flight nothing would ever be read")
    self.limits = limits
    generator = Jitter(state: seed)
    pace = Barrier.Pace(interval: limits.barrierInterval, markInterval: limits.markInterval, now: now)
    mirror = Mirror(table: table)
    wasWhole = heardAt != nil
    for (bucket, since) in held { table.setAdmitDeadline(ofBucket: bucket, to: since + limits.admitAge) }
    phase = .disconnected(retryAt: now)
    scrub = ScrubSchedule(every: limits.rereadInterval, now: now)
    removalGuard = RemovalGuard(
      share: limits.removalShare, minimum: limits.removalMinimum, window: limits.removalWindow, announced: announced)
    losses = StoreLosses(latestConfirmation: memory?.confirmed)
    expected = ExpectedStore(name: storeName, mirrored: memory?.store)
    self.memory = memory
    knownMaxAge = memory?.sourceMaxAge
    refusalValve = RefusalValve(
      minimum: limits.stormKeys, share: limits.stormShare, window: limits.stormWindow,
      admitted: table.recentlyAdmitted, now: now)
    table.setAdmitDeadline(nil)
    if let heardAt { answered(heardAt) }
  }

  // MARK: Interface for callers

  /// When the next ``Event/timePassed`` is needed.
  public var nextWake: Instant? {
    switch phase {
    case .disconnected(let retryAt): retryAt
    case .comparing(let comparing): comparing.retryAt
    case .following(let following): following.nextWake(scrubDue: scrub.due)
    case .connecting, .reading, .shutDown: nil
    }
  }

  // MARK: Events

  /// Handles one event, and returns the commands to carry out, in order.
  public mutating func handle(_ event: Event, now: Instant) -> [Command] {
    withRefusalValve { $0.advance(to: now) }
    switch event {
    case .connected(let session): connected(session, now: now)
    case .disconnected(let session, let reason):
      if session == self.session { disconnected(because: reason, now: now) }
    case .manifest(let session, let read, let result):
      if session == self.session, read == manifestRead { manifestCame(result, now: now) }
    case .bucket(let session, let index, let result):
      if session == self.session { bucketCame(index, result, now: now) }
    case .position(let session, let read, let fence, let result):
      if session == self.session { positionCame(read, remembering(fence), result, now: now) }
    case .changes(let session, let result):
      if session == self.session { changesCame(result, now: now) }
    case .asked(let question): asked(question, now: now)
    case .timePassed: timePassed(now: now)
    case .shutDown:
      enter(.shutDown)
      commands.append(.disconnect(session))
    }
    let gathered = commands
    commands = []
    return gathered
  }

  mutating func note(_ note: Note) { commands.append(.note(note)) }

  // MARK: From one phase to the next

  /// Enters another phase. The state of the old phase is dropped. Questions that waited in it are answered with the
  /// reason why no key can be refused in the new phase.
  mutating func enter(_ next: Phase) {
    var waiting: [Question] = []
    if let former = following {
      waiting = former.barrier.giveUp()
      pace = former.barrier.pace
    }
    phase = next
    // Only the following phase may have no such reason, and it is never entered from itself.
    answer(waiting, objectionToRefusing ?? loading)
  }

  private mutating func connect() {
    session += 1
    enter(.connecting)
    commands.append(.connect(session))
  }

  private mutating func connected(_ session: ConnectionID, now: Instant) {
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
    note(.connected)
    compare(because: "connected", in: Conversation(), isFirst: true, now: now)
  }

  private mutating func disconnected(because reason: String, now: Instant) {
    switch phase {
    case .disconnected, .shutDown: return
    case .connecting, .comparing, .reading, .following: break
    }
    // Logged once per outage, because repeated lines hide other events.
    if failures == 0 || awayReason != reason { note(.storeAway(reason)) }
    awayReason = reason
    enter(.disconnected(retryAt: now + nextRetry()))
  }

  // MARK: Time

  private mutating func timePassed(now: Instant) {
    switch phase {
    case .disconnected(let retryAt):
      if retryAt <= now { connect() }
    case .comparing(let comparing):
      if let retryAt = comparing.retryAt, retryAt <= now {
        compareAgain(because: "retry after a failed read of the store", now: now)
      }
    case .following(let following): timePassed(in: following, now: now)
    case .connecting, .reading, .shutDown: break
    }
  }

  mutating func nextRetry() -> Duration {
    failures += 1
    let doubled = limits.firstRetry * (1 << min(failures - 1, 20))
    let step = min(doubled, limits.lastRetry)
    return step / 2 + .nanoseconds(Int64.random(in: 0...(step / 2).wholeNanoseconds, using: &generator))
  }

  // MARK: Learned state

  /// Records that a read of the mirrored history was answered, and that the mirror has reached its version.
  mutating func answered(_ sentAt: Instant) {
    let latest = max(answeredAt ?? sentAt, sentAt)
    answeredAt = latest
    mirror.table.setAdmitDeadline(latest + limits.admitAge)
  }

  mutating func setTrouble(_ trouble: Trouble, _ words: String) {
    if self.trouble != trouble { note(.trouble(words)) }
    self.trouble = trouble
  }

  mutating func noteReadFailure(_ failure: ReadFailure) {
    guard lastReadFailure != failure.description else { return }
    lastReadFailure = failure.description
    note(.readFailed(failure.description))
  }
}
