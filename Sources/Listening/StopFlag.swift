internal import Synchronization

/// Whether the process is ending, for all threads.
package final class StopFlag: Sendable {
  private let flag = Atomic<Bool>(false)
  private let moment = Mutex<ContinuousClock.Instant?>(nil)

  package init() {}

  package var isSet: Bool { flag.load(ordering: .relaxed) }
  /// When it was told so; nil where it wasn't.
  package var since: ContinuousClock.Instant? { moment.withLock { $0 } }

  package func set() {
    moment.withLock { $0 = $0 ?? .now }
    flag.store(true, ordering: .relaxed)
  }
}
