public import NIOCore

/// The producer's bounds. Every one of them is felt as a `EnqueueError`, never as a wait without end.
public struct ProducerLimits: Sendable, Equatable {
  /// Entries that one batch may carry.
  public var entriesPerBatch: Int
  /// Bytes that one batch may carry; an entry over it goes alone.
  public var bytesPerBatch: Int
  /// Batches that may wait for a shard's answer at one time. With two, Redis has the next one when it has answered the first.
  public var batchesInFlight: Int
  /// Bytes that wait or are in flight, all batches together: also the largest entry there can be.
  public var bytes: Int
  /// Entries that may wait to be sent.
  public var waitingEntries: Int
  /// From being submitted to Redis's answer.
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
