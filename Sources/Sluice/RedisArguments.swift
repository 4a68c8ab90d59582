public import ArgumentParser
public import RedisClient

/// The options that say which Redis and which keys in it: the same in all four commands.
public struct RedisArguments: ParsableArguments {
  private static let redis = Setting<RedisEndpoint>(
    "redis", "Redis: redis://[user:password@]host:port[/db], rediss://… for TLS, or unix:///path.", shown: "url",
    default: "redis://127.0.0.1:6379")
  @Option(help: Self.redis.help) public var redis: String?

  private static let namespace = Setting<Namespace>(
    "namespace", "The first part of every Redis key.", shown: "name", default: Namespace.standard.name)
  @Option(help: Self.namespace.help) public var namespace: String?

  public init() {}

  /// - Throws: As ``Settings/value(_:given:)``.
  public func endpoint(_ settings: Settings) throws(ValidationError) -> RedisEndpoint {
    try settings.value(Self.redis, given: redis)
  }

  /// - Throws: As ``Settings/value(_:given:)``.
  public func namespace(_ settings: Settings) throws(ValidationError) -> Namespace {
    try settings.value(Self.namespace, given: namespace)
  }
}
