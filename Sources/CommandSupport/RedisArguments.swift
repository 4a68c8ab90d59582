public import ArgumentParser
public import RedisClient

/// The options for the Redis and its keys: the same in all four commands.
public struct RedisArguments: ParsableArguments {
  private static let redis = Setting<RedisEndpoint>(
    "redis",
    "Redis with the keys and the fleet's reports. One server: redis://[user:password@]host:port[/db] or unix:///path. The primary of Sentinels: redis+sentinel://[user:password@]host:port[,host:port…]/name[/db][?sentinel-user=…&sentinel-password=…]. A cluster: redis+cluster://[user:password@]host:port[,host:port…]. rediss… uses TLS, to Sentinels too. ?credentials=/path: a file with the password, or with user and password on two lines.",
    shown: "url", default: "redis://127.0.0.1:6379")
  @Option(help: Self.redis.help) public var redis: String?

  private static let addressMap = Setting<AddressMap>(
    "redis-address-map",
    "Translates addresses that Sentinels or cluster nodes announce, for servers behind NAT or in a container network: announced=reachable,…, where both sides are host:port, or both are hosts. Also applies to --queue.",
    shown: "pairs", as: "every address is used as announced")
  @Option(help: Self.addressMap.help) public var redisAddressMap: String?

  private static let namespace = Setting<Namespace>(
    "namespace",
    "Prefix of every Redis key. In braces, as {name}, it is the hash tag of all keys, so that they share one cluster slot.",
    shown: "name", default: Namespace.standard.name)
  @Option(help: Self.namespace.help) public var namespace: String?

  public init() {}

  /// - Throws: As ``Settings/value(_:given:)``.
  public func endpoint(_ settings: Settings) throws(ValidationError) -> RedisEndpoint {
    var endpoint = try settings.value(Self.redis, given: redis)
    endpoint.addressMap = try settings.optional(Self.addressMap, given: redisAddressMap) ?? .none
    return endpoint
  }

  /// - Throws: As ``Settings/value(_:given:)``.
  public func namespace(_ settings: Settings) throws(ValidationError) -> Namespace {
    try settings.value(Self.namespace, given: namespace)
  }
}
