// A clock that a test advances. A task that sleeps on it wakes when the test says so, and real time doesn't matter.

import Synchronization

final class VirtualClock: Clock, Sendable {
  struct Instant: InstantProtocol {
    var offset: Duration
    func advanced(by duration: Duration) -> Instant { Instant(offset: offset + duration) }
    func duration(to other: Instant) -> Duration { other.offset - offset }
    static func < (left: Instant, right: Instant) -> Bool { left.offset < right.offset }
  }

  private struct State {
    var now = Instant(offset: .zero)
    var sleepers: [UInt64: (until: Instant, continuation: CheckedContinuation<Bool, Never>)] = [:]
    var nextSleeper: UInt64 = 0
  }

  private let state = Mutex(State())

  var now: Instant { state.withLock { $0.now } }
  var minimumResolution: Duration { .zero }
  var offset: Duration { now.offset }

  func sleep(until deadline: Instant, tolerance: Duration?) async throws {
    let sleeper = state.withLock { state in
      state.nextSleeper += 1
      return state.nextSleeper
    }
    let woke = await withTaskCancellationHandler {
      await withCheckedContinuation { continuation in
        let known: Bool? = state.withLock { state in
          if Task.isCancelled { return false }
          if state.now >= deadline { return true }
          state.sleepers[sleeper] = (deadline, continuation)
          return nil
        }
        if let known { continuation.resume(returning: known) }
      }
    } onCancel: {
      state.withLock { $0.sleepers.removeValue(forKey: sleeper) }?.continuation.resume(returning: false)
    }
    if !woke { throw CancellationError() }
  }

  func advance(to offset: Duration) {
    let woken = state.withLock { state in
      state.now = max(state.now, Instant(offset: offset))
      let due = state.sleepers.filter { $0.value.until <= state.now }
      for sleeper in due.keys { state.sleepers[sleeper] = nil }
      return due.values.map(\.continuation)
    }
    for continuation in woken { continuation.resume(returning: true) }
  }

  func advance(by duration: Duration) { advance(to: offset + duration) }
}
