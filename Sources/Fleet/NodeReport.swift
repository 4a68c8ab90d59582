// An ingest node's report: the same JSON in Redis, under /status and under /readyz.
//
// Completeness and freshness are two fields and never one "synced": a complete mirror can be old, and a fresh one half
// empty. Unknown values are null, never zero: a node that never read the store isn't 0 s behind it.

public import KeyReplica

/// The state of an ingest node. Encodes to snake-cased JSON in which every field is present.
public struct NodeReport: MemberReport {
  public static let kind = MemberKind.node

  public enum State: String, Codable, Sendable, CaseIterable {
    case starting
    case ready
    case notReady = "not_ready"
    case draining
  }

  /// The reads of the store that prove refusals.
  public struct Barrier: Codable, Sendable, Equatable {
    /// Reads of the store's position.
    public var reads: UInt64
    /// Requests that wait for such a read now.
    public var waiting: Int
    /// Requests whose refusal was proven.
    public var proven: UInt64
    /// Requests that were answered 503 because there was no proof in time.
    public var timedOut: UInt64

    public init(reads: UInt64, waiting: Int, proven: UInt64, timedOut: UInt64) {
      self.reads = reads
      self.waiting = waiting
      self.proven = proven
      self.timedOut = timedOut
    }

    private enum CodingKeys: String, CodingKey {
      case reads, waiting, proven
      case timedOut = "timed_out"
    }
  }

  /// The connection to the queue.
  public struct Queue: Codable, Sendable, Equatable {
    public enum State: String, Codable, Sendable, CaseIterable {
      case connected
      case away
    }

    public var state: State
    /// Payloads that wait to be pushed.
    public var waiting: Int
    /// Bytes accepted from clients that Redis hasn't acknowledged yet.
    public var inFlightBytes: Int
    /// Queue durability as text: that of the worst shard. Nil if it isn't known of every shard.
    @OrNull public var durability: String?
    /// Batches sent since the start.
    public var batches: Int
    /// Payloads that Redis acknowledged since the start.
    public var pushed: Int
    /// Batches that couldn't be sent to one shard and went to another.
    public var movedBatches: Int
    public var shards: [Shard]

    public init(
      state: State, waiting: Int, inFlightBytes: Int, durability: String?, batches: Int = 0, pushed: Int = 0,
      movedBatches: Int = 0, shards: [Shard] = []
    ) {
      self.state = state
      self.waiting = waiting
      self.inFlightBytes = inFlightBytes
      self.durability = durability
      self.batches = batches
      self.pushed = pushed
      self.movedBatches = movedBatches
      self.shards = shards
    }

    private enum CodingKeys: String, CodingKey {
      case state, waiting
      case inFlightBytes = "in_flight_bytes"
      case durability, batches, pushed
      case movedBatches = "moved_batches"
      case shards
    }
  }

  /// Clients' connections to the push listener.
  public struct Connections: Codable, Sendable, Equatable {
    /// Those that are open now.
    public var open: Int
    /// Maximum: `--max-connections`, or less if the descriptor limit is too low for it.
    public var limit: Int
    /// Connections closed to accept others instead, since the start.
    public var evicted: Int
    /// The process's limit on open descriptors.
    public var descriptorLimit: Int

    public init(open: Int, limit: Int, evicted: Int, descriptorLimit: Int) {
      self.open = open
      self.limit = limit
      self.evicted = evicted
      self.descriptorLimit = descriptorLimit
    }

    private enum CodingKeys: String, CodingKey {
      case open, limit, evicted
      case descriptorLimit = "descriptor_limit"
    }
  }

  /// Results of pushes, independent of the HTTP statuses that each dialect uses.
  public struct Outcomes: Codable, Sendable, Equatable {
    /// The payload is in Redis or in the spool.
    public var taken: UInt64
    /// The key was proven not to be active.
    public var refused: UInt64
    /// The account exceeds its rate limit, or has too many dead letters.
    public var limited: UInt64
    /// Not accepted for another reason that isn't the client's fault: the queue is unreachable or full, or the key
    /// can't be judged.
    public var notTaken: UInt64
    /// Rejected because of the client's mistake.
    public var invalid: UInt64

    public init(
      taken: UInt64 = 0, refused: UInt64 = 0, limited: UInt64 = 0, notTaken: UInt64 = 0, invalid: UInt64 = 0
    ) {
      self.taken = taken
      self.refused = refused
      self.limited = limited
      self.notTaken = notTaken
      self.invalid = invalid
    }

    private enum CodingKeys: String, CodingKey {
      case taken, refused, limited, invalid
      case notTaken = "not_taken"
    }
  }

  /// Results of pushes in the last minute.
  public struct LastMinute: Codable, Sendable, Equatable {
    public var taken: UInt64
    /// If other keys were proven not to be active, the node could judge keys: then pushes with undecided keys aren't
    /// counted.
    public var notTaken: UInt64
    /// The most frequent reasons for `notTaken`.
    public var reasons: [String: UInt64]

    public init(taken: UInt64 = 0, notTaken: UInt64 = 0, reasons: [String: UInt64] = [:]) {
      self.taken = taken
      self.notTaken = notTaken
      self.reasons = reasons
    }

    private enum CodingKeys: String, CodingKey {
      case taken, reasons
      case notTaken = "not_taken"
    }
  }

  /// Payloads on the node's own disk, stored there while Redis is unreachable.
  public struct Spool: Codable, Sendable, Equatable {
    public enum State: String, Codable, Sendable, CaseIterable {
      /// The next payload would be accepted.
      case open
      /// The last payload was rejected; see ``Spool/reason``.
      case closed
    }

    public var state: State
    /// Payloads.
    public var entries: Int
    public var bytes: Int
    public var limitBytes: Int
    /// The oldest payload's age; nil if there is none.
    @OrNull public var oldestSeconds: Double?
    /// Why payloads are rejected, as text; nil while they are accepted.
    @OrNull public var reason: String?
    /// Payloads that the queue can't accept, and that an operator must handle; nil from a build that doesn't set any
    /// aside.
    @OrNull public var setAside: Int?
    /// Bytes of those payloads. They count against the limit too.
    @OrNull public var setAsideBytes: Int?

    public init(
      state: State, entries: Int, bytes: Int, limitBytes: Int, oldestSeconds: Double?, reason: String?,
      setAside: Int? = 0, setAsideBytes: Int? = 0
    ) {
      self.state = state
      self.entries = entries
      self.bytes = bytes
      self.limitBytes = limitBytes
      self.oldestSeconds = oldestSeconds
      self.reason = reason
      self.setAside = setAside
      self.setAsideBytes = setAsideBytes
    }

    private enum CodingKeys: String, CodingKey {
      case state, entries, bytes, reason
      case setAside = "set_aside"
      case setAsideBytes = "set_aside_bytes"
      case limitBytes = "limit_bytes"
      case oldestSeconds = "oldest_seconds"
    }
  }

  /// The distinct keys that clients sent to the node lately, and whether unknown keys are refused.
  public struct RecentKeys: Codable, Sendable, Equatable {
    /// Keys that are proven unknown.
    public var unknown: Int
    public var admitted: Int
    /// The number of unknown keys that an operator has confirmed.
    public var confirmed: Int
    /// Whether unknown keys are answered 503 because there are too many.
    public var storm: Bool

    public init(unknown: Int, admitted: Int, confirmed: Int, storm: Bool) {
      self.unknown = unknown
      self.admitted = admitted
      self.confirmed = confirmed
      self.storm = storm
    }

    init(_ counts: RecentKeyCounts) {
      self.init(
        unknown: counts.unknown, admitted: counts.admitted, confirmed: counts.confirmed, storm: counts.isStorm)
    }
  }

  /// A key store.
  public struct Store: Codable, Sendable, Equatable {
    public var id: String
    /// Nil if nobody has named it.
    @OrNull public var name: String?

    public init(id: String, name: String?) {
      self.id = id
      self.name = name
    }
  }

  /// Up to which moment the store is equal to the source.
  public struct Source: Codable, Sendable, Equatable {
    /// Everything that was committed in the source before this moment is in the store. Unix seconds, by Redis's clock;
    /// nil if the store was never marked.
    @OrNull public var markedAt: Double?
    /// The mark's age when it was read, at most half a second before the report; nil if it isn't known.
    @OrNull public var ageSeconds: Double?
    /// The maximum age of the mark for refusals; nil if there is none.
    @OrNull public var maxAgeSeconds: Double?
    /// What this node proves refusals against.
    public var proveAgainst: ProofBasis
    /// Whether no key can be refused because the mark is too old, missing or unreadable.
    public var stale: Bool

    public init(
      markedAt: Double?, ageSeconds: Double?, maxAgeSeconds: Double?, proveAgainst: ProofBasis, stale: Bool
    ) {
      self.markedAt = markedAt
      self.ageSeconds = ageSeconds
      self.maxAgeSeconds = maxAgeSeconds
      self.proveAgainst = proveAgainst
      self.stale = stale
    }

    /// Nil before a mark was read.
    init?(_ mirror: ReplicaStatus) {
      guard let mark = mirror.source else { return nil }
      let isStale = if case .sourceStale = mirror.objection { true } else { false }
      self.init(
        markedAt: mark.moment.map { Double($0) / 1e6 }, ageSeconds: mark.age?.fractionalSeconds,
        maxAgeSeconds: mark.maxAge?.fractionalSeconds, proveAgainst: mirror.proveAgainst, stale: isStale)
    }

    private enum CodingKeys: String, CodingKey {
      case markedAt = "marked_at"
      case ageSeconds = "age_seconds"
      case maxAgeSeconds = "max_age_seconds"
      case proveAgainst = "prove_against"
      case stale
    }
  }

  public var name: String
  public var build: String
  public var instance: String
  public var state: State
  public var ready: Bool
  /// Why the node isn't ready, as text; empty if it is ready.
  public var reasons: [String]
  public var completeness: Completeness
  /// The store's seal as last read; nil if it was never read.
  @OrNull public var sealed: Bool?
  /// Records in the mirror.
  public var keys: Int
  @OrNull public var accounts: Int?
  /// The version up to which changes have been followed.
  public var version: UInt64
  /// The store's version as last read; nil if it was never read.
  @OrNull public var storeVersion: UInt64?
  /// The epoch of the mirrored store; nil before there was one.
  @OrNull public var epoch: String?
  /// The age of the last answered read of the store at the time of the report; nil if there was none.
  @OrNull public var freshnessSeconds: Double?
  /// Why refusals can't be proven now, as text; nil if they can be. Says nothing about admitting.
  @OrNull public var refusalsBlocked: String?
  /// Keys that the store no longer holds as active, and that stay admitted until an operator confirms their removal.
  public var heldBack: Int
  /// Of these, keys whose records vanished from the store; nil from a build that doesn't count them separately.
  @OrNull public var vanished: Int?
  /// Keys that are admitted again because the store lost their revocation; nil from a build that doesn't count them.
  @OrNull public var revived: Int?
  /// The mirrored store; nil before there was one.
  @OrNull public var store: Store?
  /// How the store at the address differs from the mirrored one; nil if it is the same store.
  @OrNull public var wrongStore: WrongStore?
  /// The source mark as last read; nil before that, or from a build that doesn't read it.
  @OrNull public var source: Source?
  /// Keys that vanished from the store without a change that ended them, since the start.
  public var violations: UInt64
  /// The distinct keys that clients sent lately; nil if the node's build doesn't count them.
  @OrNull public var recentKeys: RecentKeys?
  /// Number of answers by HTTP status: `"202": 17`.
  public var answers: [String: UInt64]
  /// Since the start.
  public var outcomes: Outcomes
  public var lastMinute: LastMinute
  public var barrier: Barrier
  public var queue: Queue
  /// Nil if unknown.
  @OrNull public var connections: Connections?
  /// Nil if the node has no spool.
  @OrNull public var spool: Spool?
  /// Why the fleet's register rejected the last report, as text; nil if it accepted it, or there was no report yet.
  @OrNull public var registrationError: String?
  @OrNull public var fatalError: String?
  public var startedAt: Double
  public var reportedAt: Double
  /// The push listener's address.
  public var listen: String

  /// - Parameters:
  ///   - mirror: The replica's status.
  ///   - proven: Requests whose refusal was proven.
  ///   - timedOut: Requests without a proof in time.
  public init(
    name: String, build: String, instance: String, state: State, ready: Bool, reasons: [String],
    mirror: ReplicaStatus, answers: [String: UInt64], outcomes: Outcomes, lastMinute: LastMinute = LastMinute(),
    proven: UInt64, timedOut: UInt64, queue: Queue,
    connections: Connections? = nil, spool: Spool? = nil, registrationError: String? = nil,
    fatalError: String? = nil, startedAt: Double, reportedAt: Double, listen: String
  ) {
    self.name = name
    self.build = build
    self.instance = instance
    self.state = state
    self.ready = ready
    self.reasons = reasons
    completeness = mirror.completeness
    // Before the first read the seal is unknown, which isn't the same as "not sealed".
    sealed = mirror.storeVersion == nil ? nil : mirror.sealed
    keys = mirror.keys
    accounts = mirror.accounts
    version = mirror.version
    storeVersion = mirror.storeVersion
    epoch = mirror.epoch
    freshnessSeconds = mirror.age?.fractionalSeconds
    refusalsBlocked = mirror.objection?.inWords
    heldBack = mirror.quarantined
    vanished = mirror.vanished
    revived = mirror.revived
    store = mirror.store.map { Store(id: $0.id, name: $0.name) }
    wrongStore = mirror.wrongStore
    source = Source(mirror)
    violations = mirror.violations
    recentKeys = RecentKeys(mirror.recentKeys)
    self.answers = answers
    self.outcomes = outcomes
    self.lastMinute = lastMinute
    barrier = Barrier(reads: mirror.barrierReads, waiting: mirror.barrierWaiting, proven: proven, timedOut: timedOut)
    self.queue = queue
    self.connections = connections
    self.spool = spool
    self.registrationError = registrationError
    self.fatalError = fatalError
    self.startedAt = startedAt
    self.reportedAt = reportedAt
    self.listen = listen
  }

  private enum CodingKeys: String, CodingKey {
    case name, build, instance, state, ready, reasons, completeness, sealed, keys, accounts, version
    case storeVersion = "store_version"
    case epoch
    case freshnessSeconds = "freshness_seconds"
    case refusalsBlocked = "refusals_blocked"
    case heldBack = "held_back"
    case vanished, revived, store
    case wrongStore = "wrong_store"
    case source
    case recentKeys = "recent_keys"
    case violations, answers, outcomes, barrier, queue, connections, spool
    case lastMinute = "last_minute"
    case registrationError = "registration_error"
    case fatalError = "fatal_error"
    case startedAt = "started_at"
    case reportedAt = "reported_at"
    case listen
  }
}
