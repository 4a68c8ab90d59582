public import Logging
public import NIOCore
public import RedisClient

/// A shard of the queue: its Redis, and its keys in that Redis.
public struct QueueShard: Sendable {
  public var endpoint: RedisEndpoint
  public var layout: QueueLayout

  public init(endpoint: RedisEndpoint, layout: QueueLayout) {
    self.endpoint = endpoint
    self.layout = layout
  }

  /// A client for this shard only: in a cluster each shard may be on another node, and may move independently.
  /// - Parameters:
  ///   - options: As for any client.
  ///   - backoff: As for any client.
  ///   - eventLoop: As for any client.
  ///   - logger: As for any client.
  public func client(
    options: RedisOptions, backoff: Backoff = Backoff(), on eventLoop: any EventLoop, logger: Logger
  ) -> RedisClient {
    RedisClient(
      endpoint: endpoint, options: options, backoff: backoff, routedBy: layout.slot, on: eventLoop, logger: logger)
  }
}
