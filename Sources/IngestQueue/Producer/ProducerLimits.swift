public import NIOCore

/// The producer's limits. Beyond a limit a payload gets an `EnqueueError`; nothing waits for ever.
public struct ProducerLimits: Sendable, Equatable {
  /// Maximum entries of one batch.
  public var entriesPerBatch: Int
  /// Maximum bytes of one batch; a larger entry is sent alone.
  public var bytesPerBatch: Int
  /// Maximum batches in flight to a shard. With two, Redis already has the next batch when it has answered the first.
  public var batchesInFlight: Int
  /// Maximum bytes that wait or are in flight, in all batches; also the maximum bytes of one entry.
  public var bytes: Int
  /// Maximum entries that wait to be sent.
  public var waitingEntries: Int
  /// Maximum time from the submission to Redis's reply.
  public var deadline: TimeAmount

  public init(
    entriesPerBatch: Int = 512, bytesPerBatch: Int = 1 << 20, batchesInFlight: Int = 2, bytes: Int = 64 << 20,
    waitingEntries: Int = 10_000, deadline: TimeAmount = .seconds(2)
  ) {
    self.entriesPerBatch = entriesPerBatch
    self.bytesPerBatch = bytesPerBatch
    self.batchesInFlight = batchesInFlight
    self.bytes = bytes
    self.waitingEntries = waitingEntries
    self.deadline = deadline
  }
}
