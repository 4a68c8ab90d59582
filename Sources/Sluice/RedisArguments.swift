public import ArgumentParser
public import RedisClient

/// The options that say which Redis and which keys in it: the same in all four commands.
public struct RedisArguments: ParsableArguments {
  @Option(
    help: ArgumentHelp(
      "Redis: redis://[user:password@]host:port[/db], rediss://… for TLS, or unix:///path. "
        + "(default: redis://127.0.0.1:6379; environment: SLUICE_REDIS)", valueName: "url"))
  public var redis: String?

  @Option(
    help: ArgumentHelp(
      "The first part of every Redis key. (default: sluice; environment: SLUICE_NAMESPACE)", valueName: "name"))
  public var namespace: String?

  public init() {}

  /// - Throws: As ``Settings/value(_:given:default:as:)``.
  public func endpoint(_ settings: Settings) throws(ValidationError) -> RedisEndpoint {
    try settings.value("redis", given: redis, default: "redis://127.0.0.1:6379")
  }

  /// - Throws: As ``Settings/value(_:given:default:as:)``.
  public func namespace(_ settings: Settings) throws(ValidationError) -> Namespace {
    try settings.value("namespace", given: namespace, default: Namespace.standard.name)
  }
}
