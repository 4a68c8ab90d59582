// The promise for one payload's sender. If the thread is too slow, its result is ignored.

internal import NIOCore
internal import Synchronization

/// The answer for one payload's sender: the thread's result, or a timeout.
final class SpoolAnswer: Sendable {
  private let promise: EventLoopPromise<Void>
  private let isGiven = Atomic(false)

  init(within limit: TimeAmount, on eventLoop: any EventLoop) {
    promise = eventLoop.makePromise()
    let late = eventLoop.scheduleTask(in: limit) { self.give(.late) }
    promise.futureResult.whenComplete { _ in late.cancel() }
  }

  var future: EventLoopFuture<Void> { promise.futureResult }

  /// The first result counts.
  func give(_ failure: SpoolFailure?) {
    guard !isGiven.exchange(true, ordering: .relaxed) else { return }
    if let failure { promise.fail(failure) } else { promise.succeed() }
  }
}
