public import ArgumentParser
public import IngestQueue
public import RedisClient

/// The options for the queue's address: the same in all commands that use it.
public struct QueueArguments: ParsableArguments {
  private static let queue = Setting<RedisEndpointList>(
    "queue",
    "Redis of the queue, if different from --redis. The same form of address; several, separated by spaces, spread the queue over them.",
    shown: "urls", as: "same as --redis")
  @Option(help: Self.queue.help) public var queue: String?

  private static let queueShards = Setting<Int>(
    "queue-shards",
    "Shards of the queue on each Redis, 1 to 64. Must be the same for all nodes and workers. In a cluster each shard is in one slot.",
    shown: "number", default: "1", in: 1...64)
  @Option(help: Self.queueShards.help) public var queueShards: String?

  public init() {}

  /// All shards, in an order that is the same wherever the options are the same. Never empty.
  /// - Parameters:
  ///   - settings: The source of options.
  ///   - redis: The Redis of the queue unless an option says otherwise. Its address map is used for all.
  ///   - namespace: The first part of every Redis key.
  /// - Throws: As ``Settings/value(_:given:)``.
  public func shards(
    _ settings: Settings, redis: RedisEndpoint, namespace: Namespace
  ) throws(ValidationError) -> [QueueShard] {
    let endpoints = (try settings.optional(Self.queue, given: queue)?.endpoints ?? [redis]).map { endpoint in
      var endpoint = endpoint
      endpoint.addressMap = redis.addressMap
      return endpoint
    }
    let each = try settings.value(Self.queueShards, given: queueShards)
    // Numbered over all addresses, so that two shards on one Redis never share a key.
    return endpoints.enumerated().flatMap { place, endpoint in
      (place * each..<(place + 1) * each).map {
        QueueShard(endpoint: endpoint, layout: QueueLayout(namespace: namespace, shard: $0))
      }
    }
  }
}

/// Addresses of Redis with spaces between them.
struct RedisEndpointList: SettingValue {
  let endpoints: [RedisEndpoint]

  static var expectation: String { "addresses separated by spaces, each \(RedisEndpoint.expectation)" }

  init(setting text: String) throws(InvalidSetting) {
    var endpoints: [RedisEndpoint] = []
    for address in text.split(separator: " ") {
      let endpoint = try RedisEndpoint(setting: String(address))
      guard !endpoints.contains(endpoint) else {
        throw InvalidSetting("expected each address once, but \(endpoint) is given twice")
      }
      endpoints.append(endpoint)
    }
    guard !endpoints.isEmpty else { throw InvalidSetting("expected \(Self.expectation), got nothing") }
    self.endpoints = endpoints
  }
}
