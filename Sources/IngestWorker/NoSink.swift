// For measuring: what is left of a worker's time when storing takes none. It says "stored" of what it throws away, so nothing but an
// explicit `none:` leads here.

/// Throws payloads away and calls them stored.
public struct NoSink: Sink {
  public let name = "none:"

  public init() {}

  public func store(_ deliveries: [Delivery]) async throws(SinkFailure) -> [SinkOutcome] {
    Array(repeating: .stored, count: deliveries.count)
  }

  public func close() async throws(SinkFailure) {}
}
