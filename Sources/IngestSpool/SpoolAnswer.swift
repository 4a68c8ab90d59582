// The promise for the client of one payload. If the spool's thread is too slow, its result is ignored.

internal import NIOCore
internal import Synchronization

/// The answer for the client of one payload: the result of the spool's thread, or a timeout.
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
