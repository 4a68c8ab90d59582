// A node's report of one shard of the queue. It includes the figures' age, because a node that can't read a shard any
// more repeats the figures that it read last.

extension NodeReport {
  /// One shard of the queue as this node sees it. Encodes to snake-cased JSON in which every field is present.
  public struct Shard: Codable, Sendable, Equatable {
    /// The shard's number.
    public var shard: Int
    /// The address of its Redis, without a password.
    public var redis: String
    /// Whether the shard was read recently, isn't over its limit, and is as durable as required.
    public var admits: Bool
    /// The exceeded limit: `entries`, `bytes` or `memory`; nil if none is exceeded.
    @OrNull public var overLimit: String?
    /// Waiting payloads. Like all figures, nil before the first read.
    @OrNull public var entries: Int64?
    /// Bytes of the waiting payloads, as Redis counts them.
    @OrNull public var bytes: Int64?
    /// Bytes of everything that counts against the memory limit of its Redis.
    @OrNull public var memory: Int64?
    /// In bytes; 0 if there is no limit.
    @OrNull public var memoryLimit: Int64?
    /// Payloads that leave the shard each second.
    @OrNull public var drainPerSecond: Double?
    /// The figures' age.
    @OrNull public var readSeconds: Double?
    /// The shard's queue durability, as text.
    @OrNull public var durability: String?
    /// How the durability falls short of the node's requirement, as text; nil if it doesn't.
    @OrNull public var durabilityLack: String?
    /// Bytes of dead letters.
    @OrNull public var deadBytes: Int64?
    /// Maximum bytes of payloads and dead letters together.
    @OrNull public var roomBytes: Int64?
    /// Accounts whose pushes are refused because they have too many dead letters there.
    @OrNull public var refusedAccounts: Int?
    /// The `maxmemory-policy` of its Redis; nil if it can't be read.
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
