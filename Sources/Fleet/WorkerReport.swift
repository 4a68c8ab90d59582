/// The state of an ingest worker. Encodes to snake-cased JSON in which every field is present.
public struct WorkerReport: MemberReport {
  public static let kind = MemberKind.worker

  public enum State: String, Codable, Sendable, CaseIterable {
    case working
    /// The queue is empty.
    case idle
    /// Claims nothing new, and finishes its claims.
    case quiet
    case stopping
    /// A lane can't work: Redis or the sink can't be reached, or the sink accepts nothing. See
    /// ``WorkerReport/troubles``.
    case trouble
  }

  public var name: String
  public var build: String
  public var instance: String
  public var state: State
  /// Envelopes that were finished in one way or another, since the start.
  public var processed: UInt64
  public var stored: UInt64
  /// Envelopes that the sink already had.
  public var duplicates: UInt64
  public var retried: UInt64
  /// Envelopes that became dead letters.
  public var dead: UInt64
  /// Envelopes discarded because their keys were revoked meanwhile, if the worker is set to discard such envelopes.
  public var discarded: UInt64
  /// Envelopes that are claimed and not finished.
  public var inHand: Int
  /// Recent envelopes per second.
  public var perSecond: Double
  /// The sink's address, without secrets.
  public var sink: String
  /// The present faults as text, which names the queue's shard; empty while the worker can work on all shards.
  public var troubles: [String]
  /// The last error, as text without secrets; nil if there was none.
  @OrNull public var lastError: String?
  @OrNull public var fatalError: String?
  public var startedAt: Double
  public var reportedAt: Double

  public init(
    name: String, build: String, instance: String, state: State, processed: UInt64, stored: UInt64,
    duplicates: UInt64, retried: UInt64, dead: UInt64, discarded: UInt64 = 0, inHand: Int, perSecond: Double,
    sink: String,
    troubles: [String] = [], lastError: String?, fatalError: String? = nil, startedAt: Double, reportedAt: Double
  ) {
    self.name = name
    self.build = build
    self.instance = instance
    self.state = state
    self.processed = processed
    self.stored = stored
    self.duplicates = duplicates
    self.retried = retried
    self.dead = dead
    self.discarded = discarded
    self.inHand = inHand
    self.perSecond = perSecond
    self.sink = sink
    self.troubles = troubles
    self.lastError = lastError
    self.fatalError = fatalError
    self.startedAt = startedAt
    self.reportedAt = reportedAt
  }

  private enum CodingKeys: String, CodingKey {
    case name, build, instance, state, processed, stored, duplicates, retried, dead, discarded
    case inHand = "in_hand"
    case perSecond = "per_second"
    case sink, troubles
    case lastError = "last_error"
    case fatalError = "fatal_error"
    case startedAt = "started_at"
    case reportedAt = "reported_at"
  }
}
