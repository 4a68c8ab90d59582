// A connection that is made anew whenever it was lost.
//
// It never repeats a command: after a failure only the caller knows whether a second time would be harmless. And it never makes
// a caller wait for a connection: without one a command fails at once as not sent, so that a node whose Redis is away
// can say 503 now, not after a pile of time-outs. `connection()` is for those who would rather wait.

public import Hiredis
public import Logging
public import NIOCore

/// A Redis that is kept connected, on one event loop.
public final class RedisClient: Sendable {
  public let endpoint: RedisEndpoint
  public let eventLoop: any EventLoop

  private let state: NIOLoopBoundBox<Supervision>

  /// Starts connecting at once, and goes on until ``shutDown()``.
  public init(
    endpoint: RedisEndpoint, options: RedisOptions = RedisOptions(), backoff: Backoff = Backoff(),
    on eventLoop: any EventLoop, logger: Logger
  ) {
    self.endpoint = endpoint
    self.eventLoop = eventLoop
    state = NIOLoopBoundBox.makeBoxSendingValue(
      Supervision(endpoint: endpoint, options: options, backoff: backoff, eventLoop: eventLoop, logger: logger),
      eventLoop: eventLoop)
    eventLoop.execute { [state] in state.value.connect() }
  }

  /// Sends one command; fails at once with ``RedisError/Reason/notConnected(last:)`` while there is no connection.
  public func send(_ command: RedisCommand, within limit: TimeAmount? = nil) -> EventLoopFuture<RedisReply> {
    onConnection { $0.send(command, within: limit) }
  }

  /// Sends several commands in one write; fails at once while there is no connection.
  public func send(_ commands: [RedisCommand], within limit: TimeAmount? = nil) -> EventLoopFuture<[RedisReply]> {
    onConnection { $0.send(commands, within: limit) }
  }

  /// Sends commands that are encoded already, for the hot path; fails at once while there is no connection.
  public func send(
    encoded buffer: ByteBuffer, named name: String, expecting expected: Int, deadline: NIODeadline
  ) -> EventLoopFuture<[RedisReply]> {
    onConnection { $0.send(encoded: buffer, named: name, expecting: expected, deadline: deadline) }
  }

  /// Runs a script; fails at once while there is no connection.
  public func run(
    _ script: RedisScript, keys: [String], arguments: [any RedisArgument] = [], within limit: TimeAmount? = nil
  ) -> EventLoopFuture<RedisReply> {
    onConnection { $0.run(script, keys: keys, arguments: arguments, within: limit) }
  }

  /// The connection, as soon as there is one.
  ///
  /// Fails with ``RedisError`` when there is none within the limit, with the last attempt's reason.
  public func connection(within limit: TimeAmount) -> EventLoopFuture<RedisConnection> {
    eventLoop.flatSubmit { [state] in state.value.connection(within: limit) }
  }

  /// Whether there is a conversation now. The future doesn't fail.
  public func isConnected() -> EventLoopFuture<Bool> {
    eventLoop.submit { [state] in state.value.isConnected }
  }

  /// Ends the conversation and makes no new one.
  public func shutDown() {
    eventLoop.execute { [state] in state.value.shutDown() }
  }

  private func onConnection<Value: Sendable>(
    _ body: @escaping @Sendable (RedisConnection) -> EventLoopFuture<Value>
  ) -> EventLoopFuture<Value> {
    if eventLoop.inEventLoop { return state.value.use(body) }
    return eventLoop.flatSubmit { [state] in state.value.use(body) }
  }
}

extension RedisClient {
  /// Waits for a connection up to the limit, then sends the command.
  /// - Throws: ``RedisError``. Error replies are values.
  public func execute(_ command: RedisCommand, within limit: TimeAmount = .seconds(5)) async throws -> RedisReply {
    try await connection(within: limit).get().execute(command, within: limit)
  }

  /// Waits for a connection up to the limit, then sends the commands.
  /// - Throws: ``RedisError``. Error replies are values.
  public func execute(_ commands: [RedisCommand], within limit: TimeAmount = .seconds(5)) async throws -> [RedisReply] {
    try await connection(within: limit).get().execute(commands, within: limit)
  }

  /// Waits for a connection up to the limit, then runs the script.
  /// - Throws: ``RedisError``. Error replies are values.
  public func execute(
    _ script: RedisScript, keys: [String], arguments: [any RedisArgument] = [], within limit: TimeAmount = .seconds(5)
  ) async throws -> RedisReply {
    try await connection(within: limit).get().execute(script, keys: keys, arguments: arguments, within: limit)
  }
}

/// What a client is doing about its connection. Lives on the client's event loop.
private final class Supervision {
  private enum State {
    case connecting
    case connected(RedisConnection)
    case waiting(Scheduled<Void>)
    case shutDown
  }

  private let endpoint: RedisEndpoint
  private let backoff: Backoff
  private let eventLoop: any EventLoop
  private let logger: Logger
  private let options: RedisOptions

  private var state = State.connecting
  private var failures = 0
  private var last: RedisError?
  private var nextWaiter = 0
  private var waiters: [Int: EventLoopPromise<RedisConnection>] = [:]
  private var generator = SystemRandomNumberGenerator()

  init(
    endpoint: RedisEndpoint, options: RedisOptions, backoff: Backoff, eventLoop: any EventLoop, logger: Logger
  ) {
    self.endpoint = endpoint
    self.options = options
    self.backoff = backoff
    self.eventLoop = eventLoop
    self.logger = logger
  }

  func connect() {
    if case .shutDown = state { return }
    state = .connecting
    RedisConnection.connect(to: endpoint, options: options, on: eventLoop).assumeIsolated().whenComplete { result in
      switch result {
      case .success(let connection): self.connected(connection)
      case .failure(let error): self.lost(because: error)
      }
    }
  }

  private func connected(_ connection: RedisConnection) {
    if case .shutDown = state {
      connection.close()
      return
    }
    if failures > 0 { logger.notice("connected to Redis again", metadata: ["redis": "\(endpoint)"]) }
    failures = 0
    state = .connected(connection)
    connection.closed.assumeIsolated().whenComplete { _ in
      self.lost(because: RedisError(.closed("the conversation ended"), outcome: .notSent))
    }
    let waiting = waiters
    waiters = [:]
    for promise in waiting.values { promise.succeed(connection) }
  }

  private func lost(because error: any Error) {
    if case .shutDown = state { return }
    failures += 1
    last = error as? RedisError
    let delay = backoff.delay(afterFailures: failures, using: &generator)
    // Once per outage, not once per attempt: a log that repeats itself hides what else happened.
    if failures == 1 {
      logger.warning(
        "Redis is away; trying until it is back", metadata: ["redis": "\(endpoint)", "reason": "\(error)"])
    }
    state = .waiting(eventLoop.assumeIsolated().scheduleTask(in: delay) { self.connect() })
  }

  func use<Value: Sendable>(
    _ body: (RedisConnection) -> EventLoopFuture<Value>
  ) -> EventLoopFuture<Value> {
    switch state {
    case .connected(let connection): body(connection)
    case .shutDown: eventLoop.makeFailedFuture(RedisError(.shutDown, outcome: .notSent))
    case .connecting, .waiting: eventLoop.makeFailedFuture(notConnected)
    }
  }

  func connection(within limit: TimeAmount) -> EventLoopFuture<RedisConnection> {
    switch state {
    case .connected(let connection): return eventLoop.makeSucceededFuture(connection)
    case .shutDown: return eventLoop.makeFailedFuture(RedisError(.shutDown, outcome: .notSent))
    case .connecting, .waiting: break
    }
    let promise = eventLoop.makePromise(of: RedisConnection.self)
    let number = nextWaiter
    nextWaiter += 1
    waiters[number] = promise
    let late = eventLoop.assumeIsolated().scheduleTask(in: limit) {
      self.waiters.removeValue(forKey: number)?.fail(self.notConnected)
    }
    promise.futureResult.whenComplete { _ in late.cancel() }
    return promise.futureResult
  }

  private var notConnected: RedisError {
    RedisError(.notConnected(last: last.map { "\($0)" }), outcome: .notSent)
  }

  var isConnected: Bool {
    if case .connected = state { true } else { false }
  }

  func shutDown() {
    switch state {
    case .connected(let connection): connection.close()
    case .waiting(let task): task.cancel()
    case .connecting, .shutDown: break
    }
    state = .shutDown
    let waiting = waiters
    waiters = [:]
    for promise in waiting.values { promise.fail(RedisError(.shutDown, outcome: .notSent)) }
  }
}
