public import ArgumentParser
public import RedisClient

/// The options that say which Redis and which keys in it: the same in all four commands.
public struct RedisArguments: ParsableArguments {
  private static let redis = Setting<RedisEndpoint>(
    "redis",
    "The Redis of the keys and of the fleet: redis://[user:password@]host:port[/db], unix:///path, or the primary that Sentinels name: redis+sentinel://[user:password@]host:port[,host:port…]/name[/db][?sentinel-user=…&sentinel-password=…]. rediss… speaks TLS, to sentinels too. ?credentials=/path names a file with the password, or with a line for the user and one for the password.",
    shown: "url", default: "redis://127.0.0.1:6379")
  @Option(help: Self.redis.help) public var redis: String?

  private static let namespace = Setting<Namespace>(
    "namespace", "The first part of every Redis key.", shown: "name", default: Namespace.standard.name)
  @Option(help: Self.namespace.help) public var namespace: String?

  public init() {}

  /// - Throws: As ``Settings/value(_:given:)``.
  public func endpoint(_ settings: Settings) throws(ValidationError) -> RedisEndpoint {
    let endpoint = try settings.value(Self.redis, given: redis)
    if case .cluster = endpoint.address {
      throw ValidationError(
        "--redis: expected one Redis or Sentinels, but a cluster came; only the queue can be in one: --queue")
    }
    return endpoint
  }

  /// - Throws: As ``Settings/value(_:given:)``.
  public func namespace(_ settings: Settings) throws(ValidationError) -> Namespace {
    try settings.value(Self.namespace, given: namespace)
  }
}
