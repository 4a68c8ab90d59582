// Group commit: what arrives while Redis is busy with earlier payloads goes out together as the next one LPUSH, and its one reply
// answers them all. So the number of commands, and with `appendfsync always` the number of fsyncs, follows Redis's speed
// and not the number of requests.
//
// A producer belongs to one event loop and uses a connection on the same loop: no lock, no hop between threads. Sending is put
// off to the end of the loop's turn, so that what several connections brought in one turn travels together even when
// nothing is in flight. Rejected: a timer that collects for a while; it adds latency when there is little to do and nothing
// when there is much.
//
// Nothing is repeated here. After an unknown outcome a second push could make two of one payload; only the client knows whether
// it wants that, and it hears 503.

internal import Hiredis
public import NIOCore
public import RedisClient

/// Pushes payloads onto the queue, many at a time. One for each event loop that takes requests.
public final class QueueProducer: Sendable {
  public let eventLoop: any EventLoop
  private let state: NIOLoopBoundBox<Pushing>

  /// - Parameter client: On the event loop that the producer is to belong to. Whoever made it shuts it down, after ``drain()``.
  public init(client: RedisClient, layout: QueueLayout = QueueLayout(), limits: ProducerLimits = ProducerLimits()) {
    eventLoop = client.eventLoop
    state = NIOLoopBoundBox.makeBoxSendingValue(
      Pushing(client: client, layout: layout, limits: limits), eventLoop: client.eventLoop)
  }

  /// Pushes one payload. The future succeeds once Redis has it, and fails with ``PushFailure`` and nothing else, within the limits'
  /// deadline. From the producer's own event loop it costs no hop.
  public func submit(_ header: EnvelopeHeader, payload: ByteBuffer) -> EventLoopFuture<Void> {
    if eventLoop.inEventLoop { return state.value.submit(header, payload: payload) }
    return eventLoop.flatSubmit { [state] in state.value.submit(header, payload: payload) }
  }

  /// Takes nothing more, and completes when everything that was submitted has been answered: within the limits' deadline.
  public func drain() -> EventLoopFuture<Void> {
    if eventLoop.inEventLoop { return state.value.drain() }
    return eventLoop.flatSubmit { [state] in state.value.drain() }
  }

  /// What was done so far. Only on the producer's event loop.
  public var counters: ProducerCounters { state.value.currentCounters }
}

/// What a producer has done, and what it has in hand.
public struct ProducerCounters: Sendable, Equatable {
  /// Commands sent.
  public var batches = 0
  /// Entries that Redis acknowledged.
  public var entries = 0
  /// Entries that failed, for whatever reason.
  public var failures = 0
  /// Entries that wait to be sent, now.
  public var waitingEntries = 0
  /// Bytes that wait or are in flight, now.
  public var bytes = 0
  /// The queue's length after the last push, as Redis said it; nil before the first.
  public var queueLength: Int64?

  public init() {}
}

/// What a producer is doing. Lives on the producer's event loop.
private final class Pushing {
  private let client: RedisClient
  private let eventLoop: any EventLoop
  private var batches: PushBatches<EventLoopPromise<Void>>
  private var counters = ProducerCounters()
  private var willFlush = false
  private var draining: EventLoopPromise<Void>?

  init(client: RedisClient, layout: QueueLayout, limits: ProducerLimits) {
    self.client = client
    eventLoop = client.eventLoop
    batches = PushBatches(key: layout.pending(0), limits: limits)
  }

  var currentCounters: ProducerCounters {
    var counters = counters
    counters.waitingEntries = batches.waitingEntries
    counters.bytes = batches.bytes
    return counters
  }

  func submit(_ header: EnvelopeHeader, payload: ByteBuffer) -> EventLoopFuture<Void> {
    guard draining == nil else { return failed(.shuttingDown) }
    let promise = eventLoop.makePromise(of: Void.self)
    do throws(PushFailure) {
      try batches.add(header, payload: payload, waiter: promise, now: .now())
    } catch {
      // A promise must be completed, also one that nobody has seen.
      promise.fail(error)
      counters.failures += 1
      return promise.futureResult
    }
    flushAtTheTurnsEnd()
    return promise.futureResult
  }

  private func failed(_ failure: PushFailure) -> EventLoopFuture<Void> {
    counters.failures += 1
    return eventLoop.makeFailedFuture(failure)
  }

  func drain() -> EventLoopFuture<Void> {
    let promise = draining ?? eventLoop.makePromise()
    draining = promise
    completeDrainIfEmpty()
    return promise.futureResult
  }

  private func completeDrainIfEmpty() {
    if batches.isEmpty { draining?.succeed() }
  }

  private func flushAtTheTurnsEnd() {
    guard !willFlush else { return }
    willFlush = true
    eventLoop.assumeIsolated().execute {
      self.willFlush = false
      self.flush()
    }
  }

  private func flush() {
    while let next = batches.next(now: .now()) {
      switch next {
      case .send(let batch): send(batch)
      case .late(let batch):
        fail(batch, .away(RedisError(.deadlineExceeded(command: "LPUSH"), outcome: .notSent)))
      }
    }
    completeDrainIfEmpty()
  }

  private func send(_ batch: PushBatch<EventLoopPromise<Void>>) {
    counters.batches += 1
    client.send(encoded: batch.command, named: "LPUSH", expecting: 1, deadline: batch.deadline)
      .assumeIsolated().whenComplete { result in
        self.batches.finished(batch)
        self.complete(batch, result)
        self.flushAtTheTurnsEnd()
      }
  }

  private func complete(
    _ batch: PushBatch<EventLoopPromise<Void>>, _ result: Result<[RedisReply], any Error>
  ) {
    switch result {
    case .success(let replies):
      switch replies.first {
      case .integer(let length):
        counters.entries += batch.waiters.count
        counters.queueLength = length
        for promise in batch.waiters { promise.succeed() }
      case .error(let error):
        fail(batch, .refused(error))
      case let reply:
        let shape = reply?.shape ?? "nothing"
        fail(
          batch,
          .unknownOutcome(
            RedisError(.closed("expected the queue's length from LPUSH, but \(shape) came"), outcome: .unknown)))
      }
    case .failure(let error as RedisError):
      fail(batch, error.outcome == .notSent ? .away(error) : .unknownOutcome(error))
    case .failure(let error):
      fail(batch, .unknownOutcome(RedisError(.closed("\(error)"), outcome: .unknown)))
    }
  }

  private func fail(_ batch: PushBatch<EventLoopPromise<Void>>, _ failure: PushFailure) {
    counters.failures += batch.waiters.count
    for promise in batch.waiters { promise.fail(failure) }
  }
}
