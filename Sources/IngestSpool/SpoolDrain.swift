// The way back: from the spool to the queue, by turns of accounts and in order within an account. A payload leaves the
// disk only when Redis has it. Between the two the process may die, and then the payload is pushed again: it has one
// id, and the sink stores it once.
//
// The drain leaves Redis to live pushes for at least half of the time: after each batch it waits for as long as Redis
// took to answer it. So it is fast where Redis is idle, and slows down with Redis. Besides, an operator limits its
// rate.
//
// After a failure one payload at a time is tried: an outage costs little, and so does a Redis that takes payloads and
// doesn't say so, where each try is one more of the same in the queue. Such tries become rarer. Once Redis answers, the
// batches grow.
//
// A payload that is too large for this Redis fails each time, and so does what is pushed together with it. So large
// payloads are pushed alone, and one that Redis doesn't take is set aside in the spool. Smaller ones fit into any
// Redis: see `EnqueueError.alwaysTakenBytes`.

internal import Foundation
public import IngestQueue
public import Logging
public import NIOCore

/// Pushes what is in a spool. Its rows are one drain's business.
public actor SpoolDrain {
  /// Hands a payload to the queue. The future succeeds once Redis has it.
  public typealias Push = @Sendable (EnvelopeHeader, ByteBuffer) -> EventLoopFuture<Void>

  private enum Step {
    /// The spool is empty.
    case nothing
    /// The next step begins no earlier, because of live pushes and of the rate.
    case moved(until: ContinuousClock.Instant)
    /// - Parameter wasSent: Whether a payload was sent that may be in the queue nevertheless.
    case failed(wasSent: Bool)
  }

  private let spool: Spool
  private let push: Push
  private let logger: Logger
  /// How many are tried at once.
  private var window = 1
  /// Those that the queue has, and that couldn't be taken off the disk.
  private var pushed: [SpooledPayload] = []
  /// How often Redis closed the connection on which a large payload was sent alone, by the payload's number.
  private var closings: [Int64: Int] = [:]
  private var movedInARow = 0
  /// How often in a row a payload was sent whose outcome isn't known.
  private var failures = 0
  /// When accounts whose payloads weren't taken have their turns again; nil while there are none.
  private var restEnds: ContinuousClock.Instant?

  private static let pause = Duration.milliseconds(250)
  private static let rest = Duration.seconds(1)
  /// After so many closed connections a payload counts as too large for Redis. Each time Redis had answered the
  /// greeting just before.
  private static let closingsOfTooLarge = 3
  private static let longestPause = Duration.seconds(4)

  public init(_ spool: Spool, logger: Logger, push: @escaping Push) {
    self.spool = spool
    self.logger = logger
    self.push = push
  }

  /// Drains until its task is cancelled; what is under way then is seen to its end.
  public func run() async {
    while !Task.isCancelled {
      let next: ContinuousClock.Instant =
        switch await step() {
        case .nothing: .now + Self.pause
        case .failed(wasSent: false): .now + Self.pause
        case .failed(wasSent: true): .now + min(Self.longestPause, Self.pause * (1 << min(failures - 1, 10)))
        case .moved(let until): until
        }
      do { try await Task.sleep(until: next) } catch { return }
    }
  }

  /// Drains what it can until then, and gives up where the queue doesn't take it.
  public func finish(by deadline: ContinuousClock.Instant) async {
    while ContinuousClock.now < deadline {
      guard case .moved(let until) = await step() else { return }
      // Not to be cancelled: whoever ends the node waits for it. It can't throw, since nobody has the task to cancel
      // it.
      await Task { try? await Task.sleep(until: min(deadline, until)) }.value
    }
  }

  private func step() async -> Step {
    let step = await move()
    switch step {
    case .failed(wasSent: true): failures += 1
    case .failed(wasSent: false): break
    case .nothing, .moved: failures = 0
    }
    return step
  }

  private func move() async -> Step {
    guard await removePushed() else { return .failed(wasSent: false) }
    guard spool.figures.entries > 0 else { return .nothing }
    if let restEnds, restEnds <= .now { wake() }
    var hasWoken = false
    var payloads: [SpooledPayload]
    do {
      payloads = try await spool.next(entries: window)
      if payloads.isEmpty, restEnds != nil {
        // Whatever is left rests.
        wake()
        hasWoken = true
        payloads = try await spool.next(entries: window)
      }
    } catch {
      return .failed(wasSent: false)
    }
    guard !payloads.isEmpty else { return .failed(wasSent: false) }
    let envelopes = await envelopes(payloads)
    let begun = ContinuousClock.now
    let outcome = await push(envelopes)
    let took = ContinuousClock.now - begun
    // One that fails alone may be what is wrong: the next try is another account's.
    rest(outcome.refused + (payloads.count == 1 ? outcome.failed : []))
    if payloads.count > 1 { spool.putBack(outcome.failed) }
    for (payload, reason) in outcome.unpushable { await setAside(payload, reason) }
    pushed = outcome.moved
    guard await removePushed() else { return .failed(wasSent: outcome.wasSent) }
    movedInARow += outcome.moved.count
    guard outcome.failed.isEmpty else {
      window = 1
      return .failed(wasSent: outcome.wasSent)
    }
    if movedInARow > 0, spool.figures.entries == 0 {
      logger.notice("spool drained", metadata: ["payloads": "\(movedInARow)"])
      movedInARow = 0
    }
    if hasWoken, outcome.moved.isEmpty, !outcome.refused.isEmpty { return .failed(wasSent: false) }
    window = min(2 * window, max(1, spool.limits.drainedPerSecond / 4), spool.limits.entriesPerDrain)
    let byRate = Duration.seconds(1) * outcome.moved.count / spool.limits.drainedPerSecond
    return .moved(until: begun + max(took * 2, byRate))
  }

  /// What became of payloads that were pushed together, each in their order.
  private struct Outcome {
    var moved: [SpooledPayload] = []
    /// Not taken because of whose they are: others' may be.
    var refused: [SpooledPayload] = []
    var failed: [SpooledPayload] = []
    /// Whether some of those may be in the queue nevertheless.
    var wasSent = false
    /// Those that the queue can never take, and why.
    var unpushable: [(SpooledPayload, String)] = []
  }

  private func push(_ payloads: [(SpooledPayload, Envelope)]) async -> Outcome {
    var outcome = Outcome()
    // All at once: what goes to the queue at one time goes in one command, in this order.
    let pushes = payloads.map { push($1.header, ByteBuffer(bytes: $1.payload)) }
    guard let eventLoop = pushes.first?.eventLoop else { return outcome }
    let results: [Result<Void, any Error>]
    do {
      results = try await EventLoopFuture.whenAllComplete(pushes, on: eventLoop).get()
    } catch {
      // Only where the event loop has ended: nothing is known of any of them.
      results = payloads.map { _ in .failure(error) }
    }
    for ((payload, _), result) in zip(payloads, results) {
      switch result {
      case .success:
        closings[payload.number] = nil
        outcome.moved.append(payload)
      case .failure(let error):
        classify(payload, error as? EnqueueError, into: &outcome)
      }
    }
    return outcome
  }

  /// - Parameter failure: nil where the event loop has ended.
  private func classify(_ payload: SpooledPayload, _ failure: EnqueueError?, into outcome: inout Outcome) {
    switch failure {
    case .accountOverLimit:
      return outcome.refused.append(payload)
    case .tooLarge(let bytes, let limit):
      return outcome.unpushable.append((payload, "\(bytes) bytes, and the queue takes \(limit)"))
    case let failure? where failure.isTooLargeForServer(bytes: payload.item.bytes):
      return outcome.unpushable.append(
        (payload, "too large for Redis's proto-max-bulk-len, \(payload.item.bytes) bytes: \(failure)"))
    case let failure? where failure.mayBeTooLargeForServer(bytes: payload.item.bytes):
      closings[payload.number, default: 0] += 1
      guard closings[payload.number, default: 0] < Self.closingsOfTooLarge else {
        return outcome.unpushable.append(
          (
            payload,
            "Redis closed the connection each of \(Self.closingsOfTooLarge) times this payload was sent alone, "
              + "\(payload.item.bytes) bytes: probably too large for its client-query-buffer-limit or proto-max-bulk-len"
          ))
      }
      outcome.wasSent = true
    case .unknownOutcome, .unconfirmed, nil:
      outcome.wasSent = true
    default: break
    }
    outcome.failed.append(payload)
  }

  private func rest(_ payloads: [SpooledPayload]) {
    guard !payloads.isEmpty else { return }
    spool.putBack(payloads, rests: true)
    restEnds = restEnds ?? .now + Self.rest
  }

  private func wake() {
    restEnds = nil
    spool.wake()
  }

  /// Without those that aren't what was put there.
  private func envelopes(_ payloads: [SpooledPayload]) async -> [(SpooledPayload, Envelope)] {
    var envelopes: [(SpooledPayload, Envelope)] = []
    for payload in payloads {
      do throws(InvalidEnvelope) {
        envelopes.append((payload, try Envelope(payload.element)))
      } catch {
        await setAside(payload, "\(error)")
      }
    }
    return envelopes
  }

  private func setAside(_ payload: SpooledPayload, _ reason: String) async {
    closings[payload.number] = nil
    await spool.setAside(payload, reason)
    logger.error(
      "spooled payload set aside: Redis rejects it; see sync-status spool",
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
