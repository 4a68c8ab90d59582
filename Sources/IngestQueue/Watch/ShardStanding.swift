public import NIOCore
public import RedisClient

/// What is known of a shard.
public struct ShardStanding: Sendable {
  /// Its number.
  public var shard: Int
  public var endpoint: RedisEndpoint
  /// The last that could be read; nil before.
  public var reading: QueueReading?
  /// How old that is.
  public var age: TimeAmount?
  /// Whether that is too old to be relied on, or there was none yet.
  public var isStale: Bool
  public var admission: Admission
  /// nil before it was read.
  public var durability: Durability?
  /// How it falls short of what is required, in words; nil where it doesn't.
  public var durabilityLack: String?
}

/// Redis promises less than is required of it.
public struct InsufficientDurability: Error, Sendable, CustomStringConvertible {
  public let description: String
}
