// A connection that is made anew whenever it was lost.
//
// It never repeats a command: after a failure only the caller knows whether a second time would be harmless. And it never makes
// a caller wait for a connection: without one a command fails at once as not sent, so that a node whose Redis is away
// can say 503 now, not after a pile of time-outs. `connection()` is for those who would rather wait.

public import Hiredis
public import Logging
public import NIOCore

/// A Redis that is kept connected, on one event loop. It goes on until ``shutDown()``, whether or not anybody holds this object.
public final class RedisClient: Sendable {
  public let endpoint: RedisEndpoint
  public let eventLoop: any EventLoop

  private let state: NIOLoopBoundBox<Supervision>

  /// Starts connecting at once.
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

  /// The connection, if there is one now, or why there is none. Only on the client's event loop, where it costs no future.
  public var current: Result<RedisConnection, RedisError> { state.value.current }

  /// Whether there is a conversation now. The future fails only when the event loop has ended.
  public func isConnected() -> EventLoopFuture<Bool> {
    eventLoop.submit { [state] in state.value.isConnected }
  }

  /// Ends the conversation and makes no new one. The future completes when nothing is open any more; it never fails.
  @discardableResult
  public func shutDown() -> EventLoopFuture<Void> {
    eventLoop.flatSubmit { [state] in state.value.shutDown() }
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
    case connected(RedisConnection, since: NIODeadline)
    case waiting(Scheduled<Void>)
    case shutDown
  }

  private let endpoint: RedisEndpoint
  private let backoff: Backoff
  private let eventLoop: any EventLoop
  private let logger: Logger
  private let options: RedisOptions

  private var state = State.connecting
  /// In a row; a connection that was soon lost again is one too.
  private var failures = 0
  private var saidAway = false
  private var last: RedisError?
  /// From the first ``shutDown()`` on; completes when nothing is open any more.
  private var ended: EventLoopPromise<Void>?
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
      connection.closed.assumeIsolated().whenComplete { _ in self.ended?.succeed() }
      connection.close()
      return
    }
    if saidAway { logger.notice("connected to Redis again", metadata: ["redis": "\(endpoint)"]) }
    saidAway = false
    state = .connected(connection, since: .now())
    connection.closed.assumeIsolated().whenComplete { _ in
      self.lost(because: connection.ended ?? RedisError(.closed("its channel was taken down"), outcome: .notSent))
    }
    let waiting = waiters
    waiters = [:]
    for promise in waiting.values { promise.succeed(connection) }
  }

  private func lost(because error: any Error) {
    switch state {
    case .shutDown:
      ended?.succeed()
      return
    // A server that takes connections only to drop them must not be asked again and again at the first, shortest wait.
    case .connected(_, let since) where NIODeadline.now() - since > backoff.most: failures = 0
    case .connected, .connecting, .waiting: break
    }
    failures += 1
    last = (error as? RedisError)?.with(outcome: .notSent)
    let delay = backoff.delay(afterFailures: failures, using: &generator)
    // Once per outage, not once per attempt: a log that repeats itself hides what else happened.
    if !saidAway {
      saidAway = true
      logger.warning(
        "Redis is away; trying until it is back", metadata: ["redis": "\(endpoint)", "reason": "\(error)"])
    }
    state = .waiting(eventLoop.assumeIsolated().scheduleTask(in: delay) { self.connect() })
  }

  func use<Value: Sendable>(
    _ body: (RedisConnection) -> EventLoopFuture<Value>
  ) -> EventLoopFuture<Value> {
    switch state {
    case .connected(let connection, _): body(connection)
    case .shutDown: eventLoop.makeFailedFuture(RedisError(.shutDown, outcome: .notSent))
    case .connecting, .waiting: eventLoop.makeFailedFuture(notConnected)
    }
  }

  func connection(within limit: TimeAmount) -> EventLoopFuture<RedisConnection> {
    switch state {
    case .connected(let connection, _): return eventLoop.makeSucceededFuture(connection)
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

  var current: Result<RedisConnection, RedisError> {
    switch state {
    case .connected(let connection, _): .success(connection)
    case .shutDown: .failure(RedisError(.shutDown, outcome: .notSent))
    case .connecting, .waiting: .failure(notConnected)
    }
  }

  private var notConnected: RedisError {
    RedisError(.notConnected(last: last.map { "\($0)" }), outcome: .notSent)
  }

  var isConnected: Bool {
    if case .connected = state { true } else { false }
  }

  func shutDown() -> EventLoopFuture<Void> {
    if let ended { return ended.futureResult }
    let ended = eventLoop.makePromise(of: Void.self)
    self.ended = ended
    let before = state
    state = .shutDown
    switch before {
    case .connected(let connection, _): connection.close()
    case .waiting(let task):
      task.cancel()
      ended.succeed()
    // The attempt under way finds out when it ends, which its deadline sees to.
    case .connecting, .shutDown: break
    }
    let waiting = waiters
    waiters = [:]
    for promise in waiting.values { promise.fail(RedisError(.shutDown, outcome: .notSent)) }
    return ended.futureResult
  }
}
