// The client that services hold: takes payloads from any thread, and sends them from one task. What to send and when
// is the `Outbox`'s; this file carries it out, tells everybody what came of it, and decides nothing.
//
// The sending task belongs to the client. `run()` and `drain()` begin it, whichever is called first, and wait for it.
// So the order of the two doesn't matter: `Task { try await client.run() }` followed by `drain()` is a race, and in
// both outcomes what was submitted is sent. Rejected: sending within `run()`. A drain that came first then either
// gave everything back unsent, or waited for a `run()` that might never come.
//
// One lock around the outbox and whoever waits, not an actor: `submit` must be callable from code that can't wait (a log
// handler, a span processor) and say at once whether the payload was taken.

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
/// - 429, 5xx, timeouts and lost connections are retried with exponential backoff and full jitter, and Retry-After is honoured.
/// - 400, 413, 415 and 422 mean that the payload can't be taken: it comes back with the server's words.
/// - 401 and 403 *pause* the client: it keeps what it has, and one payload asks again, at growing intervals. Only when every
///   answer for minutes was a refusal does it *disengage*: it gives its buffer back, and goes on to ask, rarely. One
///   accepted payload engages it again.
/// - The buffer is bounded. What doesn't fit is refused when it is submitted; nothing is dropped in silence.
///
/// Counts `sluice_client_attempts_total` (by `result`), `sluice_client_payloads_total` (by `outcome`) and
/// `sluice_client_rejections_total` (by `reason`); shows `sluice_client_buffered_payloads`, `sluice_client_buffered_bytes`
/// and `sluice_client_state` (0 engaged, 1 paused, 2 disengaged).
public final class IngestClient: Service {
  /// How far the client is. It only moves forward, and no order of calls leads anywhere else.
  ///
  /// | phase | begins with | payloads are |
  /// |---|---|---|
  /// | `idle` | `init` | taken, and kept |
  /// | `sending` | the first call of ``run()`` or ``drain()`` | taken until a drain begins, and sent |
  /// | `ended` | the drain's end | not taken; all that were have an outcome |
  ///
  /// A client that is released while it is idle gives its payloads back. While it is sending its own task holds it.
  private enum Phase {
    case idle
    case sending(Sending)
    case ended(Sending)
  }

  private struct Sending: Sendable {
    /// Sends, and ends the client.
    let task: Task<Void, Never>
    /// Ends when the connections have been closed after that.
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
    /// Nil while it isn't known: the sending task is at work.
    var nextWake: Duration?
  }

  private let configuration: Configuration
  private let logger: Logger
  private let undeliveredLog: UndeliveredLog
  private let metrics: ClientMetrics
  private let time: Timekeeper
  private let onUndelivered: (@Sendable (Undelivered) -> Void)?
  private let core: Mutex<Core>
  /// Something came in that the sending task should look at.
  private let news: (stream: AsyncStream<Void>, continuation: AsyncStream<Void>.Continuation)

  /// - Parameters:
  ///   - configuration: Where to, with which key, and all limits.
  ///   - logger: Told of changes of state, and of payloads that aren't delivered. Never of the key.
  ///   - metrics: Where counters and gauges go; by default the process's.
  ///   - clock: What all waits and deadlines are measured by.
  ///   - onUndelivered: Called with each payload that was taken and won't be delivered, in the task that sends, so it
  ///     should be quick. It comes besides the outcome that a caller may be waiting for.
  /// - Throws: Where the endpoint isn't a URL or a number is out of its bounds.
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
    // Sent or given back: there is no third way for a payload.
    guard case .idle = core.withLock(\.phase) else { return }
    end("released before run() or drain() was called")
  }

  // MARK: Pushing

  /// Takes a payload into the buffer. Returns at once; it is sent from the first ``run()`` or ``drain()`` on.
  /// - Returns: Where the outcome can be waited for, if anybody wants to.
  /// - Throws: The reason why it wasn't taken. The caller still has it, and decides.
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

  /// Pushes a payload and waits until the gate has it. Cancelling ends the waiting, and not the payload.
  /// - Throws: ``Rejection`` when it wasn't taken, ``Undelivered`` when it won't be delivered, `CancellationError`.
  @discardableResult
  public func push(_ payload: Payload) async throws -> Delivery {
    switch try await submit(payload).outcome() {
    case .delivered(let delivery): return delivery
    case .undelivered(let undelivered): throw undelivered
    }
  }

  // MARK: What it knows of itself

  /// Whether the client believes that its key is good.
  public var state: State { core.withLock { $0.outbox.state } }

  /// How many payloads wait or are in flight.
  public var bufferedPayloads: Int { core.withLock { $0.outbox.count } }

  /// The state now, and each that comes; ends with the client. Of a reader that is slow the newest 16 are kept.
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

  /// What the tests' clock waits for: requests in flight, and the next moment that something is due; nil while the client is
  /// at work.
  var due: (inFlight: Int, nextWake: Duration?) {
    core.withLock { ($0.outbox.inFlightCount, $0.nextWake) }
  }

  // MARK: Running

  /// Sends until the client has been drained: by ``drain()``, by graceful shutdown where it runs in a `ServiceGroup`,
  /// or by cancelling this task, which gives everything back at once. Returns at once where the client has been
  /// drained already.
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

  /// Takes no more payloads, delivers what it can within ``Configuration/drainDeadline``, and ends the client.
  ///
  /// It sends by itself where ``run()`` hasn't been called. Graceful shutdown does this too; calling it then, later
  /// or twice returns the same report, and doesn't move the deadline. Cancelling the task that waits doesn't shorten
  /// it.
  /// - Returns: What was and what wasn't delivered, when the client has ended.
  @discardableResult
  public func drain() async -> DrainReport {
    beginDraining(within: configuration.drainDeadline)
    await core.withLock { startSending(&$0) }.task.value
    return core.withLock { $0.report }
  }

  /// From any thread; the first to come wins, but for one that leaves less time.
  private func beginDraining(within limit: Duration) {
    let deadline = time.now() + limit
    core.withLock { core in
      core.outbox.drain(until: deadline)
      core.nextWake = nil
    }
    news.continuation.yield()
  }

  /// The sending task, which is made here if there is none yet.
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
          // Never nil: nobody finishes the stream, and nobody else holds this task, so none cancels it.
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

  /// - Parameter why: For the log.
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
    // Not under the lock: finishing calls back into it.
    for observer in observers { observer.finish() }
  }

  // MARK: Telling

  /// Changes the outbox, and tells everybody what came of it: observers of the state in order, under the lock; callers after it.
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
    case .became(let state):
      let answer = state.answer.map { "\($0)" } ?? ""
      switch state.code {
      case .engaged: logger.notice("payload accepted; client engaged again")
      case .paused: logger.warning("key refused; client paused, probing", metadata: ["answer": "\(answer)"])
      default:
        logger.error(
          "key refused for the whole patience period; client disengaged, probing rarely",
          metadata: ["answer": "\(answer)", "patience": "\(configuration.refusals.patience)"])
      }
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
