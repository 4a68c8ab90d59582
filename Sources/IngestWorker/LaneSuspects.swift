// What a lane remembers about the suspects that it tried: whose turn it is. Shared by the lane's own claims and by
// those that it makes beside a batch.

internal import IngestQueue
internal import Synchronization

final class LaneSuspects: Sendable {
  private let state = Mutex(SuspectTurns())

  var turns: SuspectTurns { state.withLock { $0 } }

  /// Records the time since a claim of suspects. Other claims aren't recorded.
  func note(_ batch: ClaimedBatch, since begun: ContinuousClock.Instant) {
    guard batch.areSuspects else { return }
    state.withLock { $0.note(batch.accounts, took: .now - begun) }
  }

  func lowerCharges() { state.withLock { $0.lowerCharges() } }

  /// No suspects wait.
  func forget() { state.withLock { $0 = SuspectTurns() } }
}
