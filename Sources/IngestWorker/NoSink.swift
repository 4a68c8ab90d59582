// For benchmarks: measures the worker's own time, because storing takes none. It reports discarded payloads as stored,
// so only an explicit `none:` selects it.

/// Discards payloads and reports them as stored.
public struct NoSink: Sink {
  public let name = "none:"

  public init() {}

  public func store(_ deliveries: [Delivery]) async throws(SinkFailure) -> [SinkOutcome] {
    Array(repeating: .stored, count: deliveries.count)
  }

  public func close() async throws(SinkFailure) {}
}
