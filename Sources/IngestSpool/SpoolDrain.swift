// The way back: from the spool to the queue, in order, and no faster than an operator allows. A payload leaves the disk only when Redis has it.
// Between the two the process may die, and then the payload is pushed again: it has one id, and the sink stores it once.
//
// While Redis is away one payload at a time is tried, more and more rarely: an outage costs little, and so does a Redis that takes payloads and
// doesn't say so, where each try is one more of the same in the queue. Once it answers, the batches grow.

internal import Foundation
public import IngestQueue
public import Logging
public import NIOCore

/// Pushes what is in a spool. Its rows are one drain's business.
public actor SpoolDrain {
  /// Hands a payload to the queue. The future succeeds once Redis has it.
  public typealias Push = @Sendable (EnvelopeHeader, ByteBuffer) -> EventLoopFuture<Void>

  private enum Step {
    case nothing
    /// So many went to the queue.
    case moved(Int)
    case failed
  }

  private let spool: Spool
  private let push: Push
  private let logger: Logger
  /// How many are tried at once.
  private var window = 1
  /// Those that the queue has, and that couldn't be taken off the disk.
  private var pushed: [SpooledPayload] = []
  /// Those that the queue can never take. They stay, and are counted, for somebody to look at.
  private var unpushable: Set<Int64> = []
  private var movedInARow = 0

  /// How often in a row the queue hasn't taken all.
  private var failures = 0

  private static let pause = Duration.milliseconds(250)
  private static let longestPause = Duration.seconds(4)

  public init(_ spool: Spool, logger: Logger, push: @escaping Push) {
    self.spool = spool
    self.logger = logger
    self.push = push
  }

  /// Drains until its task is cancelled; what is under way then is seen to its end.
  public func run() async {
    while !Task.isCancelled {
      let begun = ContinuousClock.now
      let pause =
        switch await step() {
        case .nothing: Self.pause
        case .failed: min(Self.longestPause, Self.pause * (1 << min(failures - 1, 10)))
        case .moved(let count): time(for: count) - (ContinuousClock.now - begun)
        }
      do { try await Task.sleep(for: max(.zero, pause)) } catch { return }
    }
  }

  /// Drains what it can until then, and gives up where the queue doesn't take it.
  public func finish(by deadline: ContinuousClock.Instant) async {
    while ContinuousClock.now < deadline {
      let begun = ContinuousClock.now
      guard case .moved(let count) = await step() else { return }
      // Not to be cancelled: whoever ends the node waits for it. It can't throw, since nobody has the task to cancel it.
      await Task { try? await Task.sleep(until: min(deadline, begun + time(for: count))) }.value
    }
  }

  private func time(for count: Int) -> Duration { .seconds(1) * count / spool.limits.drainedPerSecond }

  private func step() async -> Step {
    let step = await move()
    if case .failed = step { failures += 1 } else { failures = 0 }
    return step
  }

  private func move() async -> Step {
    guard await removePushed() else { return .failed }
    guard spool.figures.entries > unpushable.count else { return .nothing }
    let payloads: [SpooledPayload]
    do { payloads = try await spool.oldest(entries: window, except: unpushable) } catch { return .failed }
    var moved: [SpooledPayload] = []
    var isWhole = true
    // All at once: what goes to the queue at one time goes in one command, in this order.
    for (payload, future) in payloads.map({ ($0, submit($0)) }) {
      guard let future else { continue }
      do {
        try await future.get()
        moved.append(payload)
      } catch PushFailure.tooLarge(let bytes, let limit) {
        setAside(payload, "\(bytes) bytes, and the queue takes \(limit)")
      } catch {
        isWhole = false
      }
    }
    pushed = moved
    guard await removePushed() else { return .failed }
    movedInARow += moved.count
    guard isWhole else {
      window = 1
      return .failed
    }
    window = min(2 * window, max(1, spool.limits.drainedPerSecond / 4), spool.limits.entriesPerCommit)
    if movedInARow > 0, spool.figures.entries == unpushable.count {
      logger.notice("the spool is drained", metadata: ["payloads": "\(movedInARow)"])
      movedInARow = 0
    }
    return .moved(moved.count)
  }

  /// - Returns: nil where it isn't what was put there.
  private func submit(_ payload: SpooledPayload) -> EventLoopFuture<Void>? {
    do throws(InvalidEnvelope) {
      let envelope = try Envelope(payload.element)
      return push(envelope.header, ByteBuffer(bytes: envelope.payload))
    } catch {
      setAside(payload, "\(error)")
      return nil
    }
  }

  private func setAside(_ payload: SpooledPayload, _ reason: String) {
    unpushable.insert(payload.number)
    logger.error(
      "a payload in the spool can't be pushed; it stays there",
      metadata: ["number": "\(payload.number)", "reason": "\(reason)"])
  }

  /// - Returns: Whether none is left that the queue has.
  private func removePushed() async -> Bool {
    guard !pushed.isEmpty else { return true }
    do { try await spool.remove(pushed) } catch { return false }
    pushed = []
    return true
  }
}
