// The batches that this worker holds, so that one task can extend all leases: a task for each batch would cost more
// than a small batch does.

internal import IngestQueue
internal import Synchronization

final class HeldBatches: Sendable {
  private let batches = Mutex<[Int: ClaimedBatch]>([:])

  func hold(_ batch: ClaimedBatch) { batches.withLock { $0[batch.slot] = batch } }

  func release(_ batch: ClaimedBatch) { batches.withLock { _ = $0.removeValue(forKey: batch.slot) } }

  /// The batch with its current lease.
  func current(_ batch: ClaimedBatch) -> ClaimedBatch { batches.withLock { $0[batch.slot] } ?? batch }

  var all: [ClaimedBatch] { batches.withLock { Array($0.values) } }

  /// Records a new lease, unless the batch has been settled in the meantime.
  func extended(_ batch: ClaimedBatch) {
    batches.withLock { if $0[batch.slot]?.number == batch.number { $0[batch.slot] = batch } }
  }
}
