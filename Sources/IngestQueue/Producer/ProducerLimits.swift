public import NIOCore

/// The producer's limits. Beyond each of them there is an `EnqueueError`, never a wait without end.
public struct ProducerLimits: Sendable, Equatable {
  /// Maximum entries of one batch.
  public var entriesPerBatch: Int
  /// Maximum bytes of one batch; a larger entry is sent alone.
  public var bytesPerBatch: Int
  /// Maximum batches in flight to a shard. With two, Redis has the next one when it has answered the first.
  public var batchesInFlight: Int
  /// Maximum bytes that wait or are in flight, all batches together; also the maximum of one entry.
  public var bytes: Int
  /// Maximum entries that wait to be sent.
  public var waitingEntries: Int
  /// From the submission to Redis's reply.
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
