// What a node knows of one shard of the queue, as it says it: with its age, since a node that can't read a shard any more goes on
// to say what it read last.

extension NodeReport {
  /// One shard of the queue as this node sees it. Encodes to snake-cased JSON in which every field is present.
  public struct Shard: Codable, Sendable, Equatable {
    /// Its number.
    public var shard: Int
    /// Where it is, without a password.
    public var redis: String
    /// Whether it was read lately, isn't over its limit, and is as durable as required.
    public var admits: Bool
    /// Which limit it is over: `entries`, `bytes` or `memory`; nil where none.
    @OrNull public var overLimit: String?
    /// Payloads that wait there; nil before it was read, as all figures.
    @OrNull public var entries: Int64?
    /// Bytes of those, as Redis counts them.
    @OrNull public var bytes: Int64?
    /// Bytes of all that counts against its Redis's limit.
    @OrNull public var memory: Int64?
    /// In bytes; 0 where there is none.
    @OrNull public var memoryLimit: Int64?
    /// Payloads that leave it each second.
    @OrNull public var drainPerSecond: Double?
    /// How old the figures are.
    @OrNull public var readSeconds: Double?
    /// What an acknowledgement means there, in words.
    @OrNull public var durability: String?
    /// How that falls short of what the node requires, in words; nil where it doesn't.
    @OrNull public var durabilityLack: String?
    /// Bytes of dead letters.
    @OrNull public var deadBytes: Int64?
    /// Bytes that payloads and dead letters may have there together.
    @OrNull public var roomBytes: Int64?
    /// Accounts whose pushes are refused because they have too many dead letters there.
    @OrNull public var refusedAccounts: Int?
    /// The `maxmemory-policy` of its Redis; nil where that can't be told.
    @OrNull public var evictionPolicy: String?

    public init(
      shard: Int, redis: String, admits: Bool, overLimit: String? = nil, entries: Int64? = nil, bytes: Int64? = nil,
      memory: Int64? = nil, memoryLimit: Int64? = nil, drainPerSecond: Double? = nil, readSeconds: Double? = nil,
      durability: String? = nil, durabilityLack: String? = nil, deadBytes: Int64? = nil, roomBytes: Int64? = nil,
      refusedAccounts: Int? = nil, evictionPolicy: String? = nil
    ) {
      self.shard = shard
      self.redis = redis
      self.admits = admits
      self.overLimit = overLimit
      self.entries = entries
      self.bytes = bytes
      self.memory = memory
      self.memoryLimit = memoryLimit
      self.drainPerSecond = drainPerSecond
      self.readSeconds = readSeconds
      self.durability = durability
      self.durabilityLack = durabilityLack
      self.deadBytes = deadBytes
      self.roomBytes = roomBytes
      self.refusedAccounts = refusedAccounts
      self.evictionPolicy = evictionPolicy
    }

    private enum CodingKeys: String, CodingKey {
      case shard, redis, admits, entries, bytes, memory, durability
      case overLimit = "over_limit"
      case memoryLimit = "memory_limit"
      case drainPerSecond = "drain_per_second"
      case readSeconds = "read_seconds"
      case durabilityLack = "durability_lack"
      case deadBytes = "dead_bytes"
      case roomBytes = "room_bytes"
      case refusedAccounts = "refused_accounts"
      case evictionPolicy = "eviction_policy"
    }
  }
}
