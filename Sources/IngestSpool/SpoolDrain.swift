// Drains the spool into the queue. Accounts take turns, and within an account payloads keep their order. A payload is
// removed from the disk only when Redis has it. If the process dies in between, the payload is pushed again: it has one
// ID, and the sink stores it once.
//
// The drain leaves Redis to live pushes for at least half of the time: after each batch it waits for as long as Redis
// took to answer it. So the drain is fast if Redis is idle, and slows down with Redis. In addition, an operator can
// limit its rate.
//
// After a failure one payload at a time is tried. So an outage costs little. It also costs little if Redis accepts
// payloads without replying, although each try then adds the same payload to the queue once more. Such tries become
// rarer. Once Redis answers, the batches grow.
//
// A payload that is too large for this Redis fails each time, with all payloads in the same command. So large payloads
// are pushed alone, and one that Redis doesn't accept is set aside in the spool. Smaller ones fit into any Redis: see
// `EnqueueError.alwaysTakenBytes`.

internal import Foundation
public import IngestQueue
public import Logging
public import NIOCore

/// Pushes the payloads of a spool. Only one drain uses a spool.
public actor SpoolDrain {
  /// Pushes a payload onto the queue. The future succeeds once Redis has it.
  public typealias Push = @Sendable (EnvelopeHeader, ByteBuffer) -> EventLoopFuture<Void>

  private enum Step {
    /// The spool is empty.
    case nothing
    /// The earliest time of the next step: a pause for live pushes, and for the rate.
    case moved(until: ContinuousClock.Instant)
    /// - Parameter wasSent: Whether a payload was sent and may be in the queue nevertheless.
    case failed(wasSent: Bool)
  }

  private let spool: Spool
  private let push: Push
  private let logger: Logger
  /// How many payloads are tried at once.
  private var window = 1
  /// Payloads that are in the queue but couldn't be removed from the disk.
  private var pushed: [SpooledPayload] = []
  /// How often Redis closed the connection on which a large payload was sent alone, by the payload's number.
  private var closings: [Int64: Int] = [:]
  private var movedInARow = 0
  /// Number of consecutive failures in which a payload was sent with an unknown outcome.
  private var failures = 0
  /// When accounts whose payloads weren't accepted get turns again; nil if there are none.
  private var restEnds: ContinuousClock.Instant?

  private static let pause = Duration.milliseconds(250)
  private static let rest = Duration.seconds(1)
  /// After this number of closed connections a payload is treated as too large for Redis. Before each of them Redis had
  /// just answered the greeting.
  private static let closingsOfTooLarge = 3
  private static let longestPause = Duration.seconds(4)

  public init(_ spool: Spool, logger: Logger, push: @escaping Push) {
    self.spool = spool
    self.logger = logger
    self.push = push
  }

  /// Drains until its task is cancelled. Then it finishes the work in progress.
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

  /// Drains as many as it can until the deadline, and ends if the queue doesn't accept them.
  public func finish(by deadline: ContinuousClock.Instant) async {
    while ContinuousClock.now < deadline {
      guard case .moved(let until) = await step() else { return }
      // This pause isn't cancelled with the caller, because the node's shutdown waits for it. It can't throw, because
      // nothing can cancel this task.
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
        // The accounts of all remaining payloads are resting.
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
    // A payload that fails alone may be the cause: the next try uses another account's payload.
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

  /// The results of payloads that were pushed together, each list in their order.
  private struct Outcome {
    var moved: [SpooledPayload] = []
    /// Payloads that weren't accepted because of their account. Other accounts' may be accepted.
    var refused: [SpooledPayload] = []
    var failed: [SpooledPayload] = []
    /// Whether some of them may be in the queue nevertheless.
    var wasSent = false
    /// Payloads that the queue can never take, with the reason.
    var unpushable: [(SpooledPayload, String)] = []
  }

  private func push(_ payloads: [(SpooledPayload, Envelope)]) async -> Outcome {
    var outcome = Outcome()
    // All at once: payloads that are enqueued at the same time are sent in one command, in this order.
    let pushes = payloads.map { push($1.header, ByteBuffer(bytes: $1.payload)) }
    guard let eventLoop = pushes.first?.eventLoop else { return outcome }
    let results: [Result<Void, any Error>]
    do {
      results = try await EventLoopFuture.whenAllComplete(pushes, on: eventLoop).get()
    } catch {
      // Happens only if the event loop has ended: all outcomes are unknown.
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

  /// - Parameter failure: nil if the event loop has ended.
  private func classify(_ payload: SpooledPayload, _ failure: EnqueueError?, into outcome: inout Outcome) {
    switch failure {
    case .accountOverLimit:
      return outcome.refused.append(payload)
    case .tooLarge(let bytes, let limit):
      return outcome.unpushable.append((payload, "payload too large: \(bytes) bytes, the queue's limit is \(limit)"))
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

  /// The payloads with their envelopes, without damaged ones.
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
      "spooled payload set aside, because Redis rejects it. Stop the node, then: sync-status spool list FOLDER",
      metadata: ["number": "\(payload.number)", "reason": "\(reason)"])
  }

  /// Removes pushed payloads from the disk.
  /// - Returns: Whether all of them were removed.
  private func removePushed() async -> Bool {
    guard !pushed.isEmpty else { return true }
    do { try await spool.remove(pushed) } catch { return false }
    pushed = []
    return true
  }
}
