internal import Synchronization

/// Whether the process is ending, for all threads.
package final class StopFlag: Sendable {
  private let flag = Atomic<Bool>(false)
  private let moment = Mutex<ContinuousClock.Instant?>(nil)

  package init() {}

  package var isSet: Bool { flag.load(ordering: .relaxed) }
  /// The time when the process began to end; nil if it isn't ending.
  package var since: ContinuousClock.Instant? { moment.withLock { $0 } }

  package func set() {
    moment.withLock { $0 = $0 ?? .now }
    flag.store(true, ordering: .relaxed)
  }
}
