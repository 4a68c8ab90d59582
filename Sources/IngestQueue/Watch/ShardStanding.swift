public import NIOCore
public import RedisClient

/// The state of a shard.
public struct ShardStanding: Sendable {
  /// Its number.
  public var shard: Int
  public var endpoint: RedisEndpoint
  /// The last reading; nil before the first.
  public var reading: QueueReading?
  /// The age of that reading.
  public var age: TimeAmount?
  /// Whether the reading is too old to be used, or there was none yet.
  public var isStale: Bool
  public var admission: Admission
  /// nil before the first reading.
  public var durability: Durability?
  /// How it is less durable than required, as text; nil if it isn't.
  public var durabilityLack: String?
}

/// Redis is less durable than required.
public struct InsufficientDurability: Error, Sendable, CustomStringConvertible {
  public let description: String
}
