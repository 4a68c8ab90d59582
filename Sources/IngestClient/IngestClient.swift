// The client that services use: accepts payloads from any thread, and sends them from one task. The `Outbox` decides
// what to send and when. This file carries out its decisions, passes the results to callers and observers, and decides
// nothing.
//
// The sending task belongs to the client. The first call of `run()` or `drain()` starts it, and both wait for it. So
// the order of the two doesn't matter: `Task { try await client.run() }` followed by `drain()` is a race, and submitted
// payloads are sent whichever is first. Rejected: sending within `run()`. Then a drain that is first would either
// return everything unsent, or wait for a `run()` that might never be called.
//
// Rejected: an actor. `submit` must be callable from code that can't wait (a log handler, a span processor) and return
// at once whether the payload was accepted. So one lock protects the outbox and its waiting callers.

public import CoreMetrics
public import Logging
public import ServiceLifecycle
internal import Synchronization

/// Pushes payloads to Sluice, and doesn't give up on one wrong answer.
///
/// ```swift
/// let client = try IngestClient(
///   IngestClient.Configuration(endpoint: "https://push.example.com/v1/events", key: PushKey(secret)), logger: logger)
/// // In a ServiceGroup, or: Task { try await client.run() }, and drain() at the end.
/// let delivery = try await client.push(IngestClient.Payload(body, contentType: "application/json"))
/// ```
///
/// - A payload has an idempotency key, the same in all attempts, so it becomes one row however often it is sent.
/// - 429, 5xx, timeouts and lost connections are retried with exponential backoff and full jitter, and Retry-After is
///   honoured.
/// - 400, 413, 415 and 422 mean that the payload can't be accepted: it is returned with the server's answer.
/// - 401 and 403 *pause* the client: it keeps its payloads, and retries one of them at growing intervals. If every
///   answer for minutes was a refusal, it *disengages*: it returns its buffer, and retries only rarely. One accepted
///   payload engages it again.
/// - The buffer is bounded. A payload that doesn't fit is refused when it is submitted; nothing is dropped silently.
///
/// Counts `sluice_client_attempts_total` (by `result`), `sluice_client_payloads_total` (by `outcome`) and
/// `sluice_client_rejections_total` (by `reason`); shows `sluice_client_buffered_payloads`,
/// `sluice_client_buffered_bytes` and `sluice_client_state` (0 engaged, 1 paused, 2 disengaged).
public final class IngestClient: Service {
  /// The client's phase. It only moves forward, whatever the order of calls.
  ///
  /// | phase | begins with | payloads are |
  /// |---|---|---|
  /// | `idle` | `init` | accepted, and kept |
  /// | `sending` | the first call of ``run()`` or ``drain()`` | accepted until a drain begins, and sent |
  /// | `ended` | the drain's end | not accepted; all accepted ones have an outcome |
  ///
  /// A client that is released while it is idle returns its payloads. While it is sending, its own task retains it.
  private enum Phase {
    case idle
    case sending(Sending)
    case ended(Sending)
  }

  private struct Sending: Sendable {
    /// Sends, and ends the client.
    let task: Task<Void, Never>
    /// Ends when, after `task`, the connections have been closed.
    let closing: Task<Void, any Error>
  }

  private struct Core {
    var outbox: Outbox
    var phase = Phase.idle
    /// Whether ``run()`` was called.
    var wasRun = false
    var pushes: [UInt64: PendingPush] = [:]
    var observers: [UInt64: AsyncStream<State>.Continuation] = [:]
    var nextObserver: UInt64 = 0
    var report = DrainReport(delivered: 0, undelivered: [])
    /// Nil while the sending task is working, because the next time is unknown then.
    var nextWake: Duration?
  }

  private let configuration: Configuration
  private let logger: Logger
  private let undeliveredLog: UndeliveredLog
  private let metrics: ClientMetrics
  private let time: Timekeeper
  private let onUndelivered: (@Sendable (Undelivered) -> Void)?
  private let core: Mutex<Core>
  /// Wakes the sending task.
  private let news: (stream: AsyncStream<Void>, continuation: AsyncStream<Void>.Continuation)

  /// - Parameters:
  ///   - configuration: Endpoint, key, and all limits.
  ///   - logger: Logs changes of state, and payloads that aren't delivered. Never the key.
  ///   - metrics: The backend of counters and gauges; by default the process's.
  ///   - clock: The clock of all waits and deadlines.
  ///   - onUndelivered: Called with each accepted payload that won't be delivered, in the task that sends, so it should
  ///     be quick. A caller that waits for the payload gets the outcome too.
  /// - Throws: If the endpoint isn't a URL or a number is out of range.
  public init(
    _ configuration: Configuration, logger: Logger, metrics: any MetricsFactory = MetricsSystem.factory,
    clock: some Clock<Duration> = ContinuousClock(), onUndelivered: (@Sendable (Undelivered) -> Void)? = nil
  ) throws(InvalidConfiguration) {
    try configuration.check()
    self.configuration = configuration
    self.logger = logger
    undeliveredLog = UndeliveredLog(logger)
    self.metrics = ClientMetrics(metrics)
    self.onUndelivered = onUndelivered
    time = Timekeeper(clock)
    core = Mutex(Core(outbox: Outbox(configuration, random: SystemRandomNumberGenerator())))
    news = AsyncStream.makeStream(bufferingPolicy: .bufferingNewest(1))
    self.metrics.became(.engaged)
  }

  deinit {
    // Each payload is sent or returned; there is no third case.
    guard case .idle = core.withLock(\.phase) else { return }
    end("released before run() or drain() was called")
  }

  // MARK: Pushing

  /// Accepts a payload into the buffer. Returns at once. The payload is sent after the first call of ``run()`` or
  /// ``drain()``.
  /// - Returns: A handle that can wait for the outcome.
  /// - Throws: The reason if the payload wasn't accepted. The caller still has the payload, and decides what to do with
  ///   it.
  @discardableResult
  public func submit(_ payload: Payload) throws(Rejection) -> PendingPush {
    let push = PendingPush(idempotencyKey: payload.idempotencyKey)
    let now = time.now()
    let taken = core.withLock { core in
      Result { () throws(Rejection) in
        let number = try core.outbox.submit(payload, at: now)
        core.pushes[number] = push
        core.nextWake = nil
        metrics.buffered(core.outbox.count, bytes: core.outbox.bytes)
      }
    }
    do {
      try taken.get()
    } catch {
      metrics.rejected(error)
      throw error
    }
    news.continuation.yield()
    return push
  }

  /// Pushes a payload and waits until the gate has accepted it. Cancelling ends the wait; the payload is still sent.
  /// - Throws: ``Rejection`` if it wasn't accepted into the buffer, ``Undelivered`` if it won't be delivered,
  ///   `CancellationError`.
  @discardableResult
  public func push(_ payload: Payload) async throws -> Delivery {
    switch try await submit(payload).outcome() {
    case .delivered(let delivery): return delivery
    case .undelivered(let undelivered): throw undelivered
    }
  }

  // MARK: State

  /// Whether the client considers its key active.
  public var state: State { core.withLock { $0.outbox.state } }

  /// The number of payloads that wait or are in flight.
  public var bufferedPayloads: Int { core.withLock { $0.outbox.count } }

  /// The present state, and each later one. The stream ends with the client. A slow reader gets the newest 16.
  public func states() -> AsyncStream<State> {
    AsyncStream(bufferingPolicy: .bufferingNewest(16)) { continuation in
      let ended = core.withLock { core in
        continuation.yield(core.outbox.state)
        if case .ended = core.phase { return true }
        let observer = core.nextObserver
        core.nextObserver += 1
        core.observers[observer] = continuation
        continuation.onTermination = { [weak self] _ in
          self?.core.withLock { _ = $0.observers.removeValue(forKey: observer) }
        }
        return false
      }
      if ended { continuation.finish() }
    }
  }

  /// For the tests' clock: the number of requests in flight, and the time of the next due action; nil while the client
  /// is working.
  var due: (inFlight: Int, nextWake: Duration?) {
    core.withLock { ($0.outbox.inFlightCount, $0.nextWake) }
  }

  // MARK: Running

  /// Sends until the client has been drained: by ``drain()``, by graceful shutdown in a `ServiceGroup`, or by
  /// cancelling this task, which returns all payloads at once. Returns at once if the client has been drained already.
  /// - Throws: On the second call.
  public func run() async throws {
    let sending = try core.withLock { core in
      guard !core.wasRun else { throw AlreadyRun() }
      core.wasRun = true
      return startSending(&core)
    }
    try await withTaskCancellationHandler {
      try await withGracefulShutdownHandler {
        try await sending.closing.value
      } onGracefulShutdown: {
        self.beginDraining(within: self.configuration.drainDeadline)
      }
    } onCancel: {
      beginDraining(within: .zero)
    }
  }

  /// Accepts no more payloads, delivers as many as possible within ``Configuration/drainDeadline``, and ends the
  /// client.
  ///
  /// Payloads are sent even if ``run()`` wasn't called. Graceful shutdown drains too. Calling this during a drain,
  /// after it, or twice returns the same report and doesn't move the deadline. Cancelling the waiting task doesn't
  /// shorten the drain.
  /// - Returns: The delivered and the undelivered payloads, when the client has ended.
  @discardableResult
  public func drain() async -> DrainReport {
    beginDraining(within: configuration.drainDeadline)
    await core.withLock { startSending(&$0) }.task.value
    return core.withLock { $0.report }
  }

  /// May be called from any thread. The first deadline counts, unless a later call has a shorter one.
  private func beginDraining(within limit: Duration) {
    let deadline = time.now() + limit
    core.withLock { core in
      core.outbox.drain(until: deadline)
      core.nextWake = nil
    }
    news.continuation.yield()
  }

  /// The sending task, which is created here if there is none yet.
  private func startSending(_ core: inout Core) -> Sending {
    switch core.phase {
    case .sending(let sending), .ended(let sending): return sending
    case .idle: break
    }
    let exchange = HTTPExchange(configuration, time: time)
    let task = Task {
      await drive(exchange)
      end("drained, or run() was cancelled")
    }
    let closing = Task { [logger] in
      await task.value
      do {
        try await exchange.shutdown()
      } catch {
        logger.warning("closing the client's connections failed", metadata: ["reason": "\(error)"])
        throw error
      }
    }
    let sending = Sending(task: task, closing: closing)
    core.phase = .sending(sending)
    return sending
  }

  private func drive(_ exchange: HTTPExchange) async {
    let ring = news.continuation
    var alarm = Alarm(time: time) { ring.yield() }
    await withDiscardingTaskGroup { group in
      var news = news.stream.makeAsyncIterator()
      while true {
        let step = nextStep()
        switch step {
        case .send(let sending):
          group.addTask {
            let result = await exchange.send(sending.payload)
            self.answered(sending.number, result)
          }
        case .cancelInFlight: group.cancelAll()
        case .wait(let moment):
          if let moment { alarm.set(moment) }
          // Never nil: no code finishes the stream or cancels this task.
          if await news.next() == nil { return }
        case .ended: return
        }
      }
    }
    alarm.cancel()
  }

  private func nextStep() -> Outbox.Step {
    let now = time.now()
    return withOutbox { core in
      let step = core.outbox.next(at: now)
      if case .wait(let moment) = step { core.nextWake = moment }
      return step
    }
  }

  private func answered(_ number: UInt64, _ result: AttemptResult) {
    metrics.attempt(result)
    if case .failed(let failure, _) = result { logger.debug("push attempt failed", metadata: ["reason": "\(failure)"]) }
    let now = time.now()
    withOutbox { core in
      core.outbox.answered(number, result, at: now)
      core.nextWake = nil
    }
    news.continuation.yield()
  }

  /// - Parameter why: The reason for the log.
  private func end(_ why: String) {
    withOutbox { $0.outbox.stop() }
    let (observers, report) = core.withLock { core in
      if case .sending(let sending) = core.phase { core.phase = .ended(sending) }
      defer { core.observers.removeAll() }
      return (core.observers.values.map { $0 }, core.report)
    }
    let metadata: Logger.Metadata = [
      "reason": "\(why)", "delivered": "\(report.delivered)", "undelivered": "\(report.undelivered.count)",
    ]
    if report.undelivered.isEmpty {
      logger.info("client stopped", metadata: metadata)
    } else {
      logger.warning("client stopped with undelivered payloads", metadata: metadata)
    }
    // Not under the lock: finishing a stream calls back, and the callback takes the lock.
    for observer in observers { observer.finish() }
  }

  // MARK: Notifying

  /// Changes the outbox, and passes on its events: to observers of the state in order and under the lock, to callers
  /// after it.
  private func withOutbox<Result>(_ change: (inout sending Core) -> sending Result) -> Result {
    let (result, ended, other) = core.withLock { core in
      let result = change(&core)
      var ended: [(PendingPush?, Outcome)] = []
      var other: [Outbox.Event] = []
      for event in core.outbox.takeEvents() {
        switch event {
        case .delivered(let number, let delivery):
          if !core.outbox.isOpen { core.report.delivered += 1 }
          ended.append((core.pushes.removeValue(forKey: number), .delivered(delivery)))
        case .undelivered(let number, let undelivered):
          if !core.outbox.isOpen { core.report.undelivered.append(undelivered) }
          ended.append((core.pushes.removeValue(forKey: number), .undelivered(undelivered)))
        case .became(let state):
          for observer in core.observers.values { observer.yield(state) }
          metrics.became(state)
          other.append(event)
        case .faltered: other.append(event)
        }
      }
      if !ended.isEmpty { metrics.buffered(core.outbox.count, bytes: core.outbox.bytes) }
      return (result, ended, other)
    }
    for event in other { log(event) }
    for (push, outcome) in ended {
      metrics.ended(outcome)
      if case .undelivered(let undelivered) = outcome {
        undeliveredLog.note(undelivered, at: time.now())
        onUndelivered?(undelivered)
      }
      push?.end(with: outcome)
    }
    return result
  }

  private func log(_ event: Outbox.Event) {
    switch event {
    case .became(.engaged): logger.notice("payload accepted: client sends again (engaged)")
    case .became(.paused(let answer)):
      logger.warning(
        "key refused: client paused; one payload tests the key from time to time", metadata: ["answer": "\(answer)"])
    case .became(.disengaged(let answer)):
      logger.error(
        """
        key refused for too long: client stopped sending (disengaged). Waiting payloads are returned as undelivered, and new \
        ones are rejected; now and then one is sent to test the key. Give the client an active key
        """,
        metadata: ["answer": "\(answer)", "patience": "\(configuration.refusals.patience)"])
    case .faltered(let failure):
      logger.warning("delivery failing; retrying", metadata: ["reason": "\(failure)"])
    case .delivered, .undelivered: break
    }
  }
}

/// A client was run twice.
private struct AlreadyRun: Error, CustomStringConvertible {
  var description: String { "expected to be run once, but this client runs or has run already" }
}
