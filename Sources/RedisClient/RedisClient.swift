// A connection that is made again whenever it was lost. If the address leads to several servers, the right one is
// looked up again.
//
// It never repeats a command: after a failure only the caller knows whether a second time would be harmless. And it
// never makes a caller wait for a connection: without one a command fails at once as not sent, so that a node whose
// Redis is unreachable can answer 503 now, and not after a series of time-outs. `connection()` waits for one.
//
// With a cluster there are two exceptions, in SlotRouting: a command that a node refuses because the slot is elsewhere
// is sent there, and one that it refuses because the slot is moving is sent again until the command's deadline. Neither
// was carried out.

public import Hiredis
public import Logging
public import NIOCore

/// A Redis connection that is kept open, on one event loop. It continues until ``shutDown()``, even if nobody retains
/// this object.
public final class RedisClient: Sendable {
  public let endpoint: RedisEndpoint
  public let eventLoop: any EventLoop

  private let options: RedisOptions
  private let backoff: Backoff
  private let key: String?
  private var commandDeadline: TimeAmount { options.commandDeadline }
  private let state: NIOLoopBoundBox<Supervision>
  /// With a cluster: a key in the slot.
  private let slotKey: String?

  /// Starts connecting at once.
  /// - Parameter key: If the endpoint is a cluster, it selects the slot: the name of a key under which nothing is ever
  ///   stored. Without a cluster it is ignored. It is added to the keys of every script, which doesn't see it. Because
  ///   the key is missing, no script can begin while the slot moves; otherwise a script could find in its middle that a
  ///   key has left.
  public init(
    endpoint: RedisEndpoint, options: RedisOptions = RedisOptions(), backoff: Backoff = Backoff(),
    routedBy key: String? = nil, on eventLoop: any EventLoop, logger: Logger
  ) {
    self.endpoint = endpoint
    self.eventLoop = eventLoop
    self.options = options
    self.backoff = backoff
    self.key = key
    slotKey = if case .cluster = endpoint.address { key } else { nil }
    state = NIOLoopBoundBox.makeBoxSendingValue(
      Supervision(
        endpoint: endpoint, options: options, backoff: backoff, key: key, eventLoop: eventLoop, logger: logger),
      eventLoop: eventLoop)
    eventLoop.execute { [state] in state.value.connect() }
  }

  /// A client of the same Redis with a connection of its own, for commands that may end the connection. It doesn't log;
  /// this one does. The caller shuts it down.
  public func another() -> RedisClient {
    RedisClient(
      endpoint: endpoint, options: options, backoff: backoff, routedBy: key, on: eventLoop,
      logger: Logger(label: "redis") { _ in SwiftLogNoOpLogHandler() })
  }

  /// Sends one command; fails at once with ``RedisError/Reason/notConnected(last:)`` while there is no connection.
  public func send(_ command: RedisCommand, within limit: TimeAmount? = nil) -> EventLoopFuture<RedisReply> {
    guard slotKey != nil else { return onLoop { $0.use { $0.send(command, within: limit) } } }
    return send([command], within: limit).map { $0[0] }
  }

  /// Sends several commands in one write; fails at once while there is no connection.
  public func send(_ commands: [RedisCommand], within limit: TimeAmount? = nil) -> EventLoopFuture<[RedisReply]> {
    guard slotKey != nil else { return onLoop { $0.use { $0.send(commands, within: limit) } } }
    return route(commands, deadline: .now() + (limit ?? commandDeadline))
  }

  /// Sends commands that are encoded already, for the hot path; fails at once while there is no connection.
  public func send(
    encoded buffer: ByteBuffer, named name: String, expecting expected: Int, deadline: NIODeadline
  ) -> EventLoopFuture<[RedisReply]> {
    guard slotKey != nil else {
      return onLoop { $0.use { $0.send(encoded: buffer, named: name, expecting: expected, deadline: deadline) } }
    }
    return onLoop { $0.route(buffer, named: name, expecting: expected, deadline: deadline) }
  }

  /// Runs a script; fails at once while there is no connection.
  public func run(
    _ script: RedisScript, keys: [String], arguments: [any RedisArgument] = [], within limit: TimeAmount? = nil
  ) -> EventLoopFuture<RedisReply> {
    guard let slotKey else {
      return onLoop { $0.use { $0.run(script, keys: keys, arguments: arguments, within: limit) } }
    }
    let deadline = NIODeadline.now() + (limit ?? commandDeadline)
    let known = script.command(keys: keys, slotKey: slotKey, arguments: arguments)
    return route([known], deadline: deadline).flatMap { replies in
      guard case .error(let error) = replies[0], error.isNoScript else {
        return self.eventLoop.makeSucceededFuture(replies[0])
      }
      let whole = script.commandWithSource(keys: keys, slotKey: slotKey, arguments: arguments)
      return self.route([whole], deadline: deadline).map { $0[0] }
    }
  }

  /// Sends on the ``current`` connection, for callers that decide by it. Only on the client's event loop.
  /// - Parameter isBoundToServer: With a cluster: whether only the server of this connection may carry it out. If a
  ///   slot leaves that server, the command fails as not sent.
  public func send(
    encoded buffer: ByteBuffer, named name: String, expecting expected: Int, deadline: NIODeadline,
    on connection: RedisConnection, isBoundToServer: Bool
  ) -> EventLoopFuture<[RedisReply]> {
    guard slotKey != nil else {
      return connection.send(encoded: buffer, named: name, expecting: expected, deadline: deadline)
    }
    return state.value.route(
      buffer, named: name, expecting: expected, deadline: deadline, on: connection, isBoundToServer: isBoundToServer)
  }

  private func route(_ commands: [RedisCommand], deadline: NIODeadline) -> EventLoopFuture<[RedisReply]> {
    guard !commands.isEmpty else { return eventLoop.makeSucceededFuture([]) }
    return onLoop {
      $0.route(commands.encoded, named: commands.name, expecting: commands.count, deadline: deadline)
    }
  }

  /// The connection, as soon as there is one. With a cluster its replies may be redirections: to send, use the client
  /// itself.
  ///
  /// Fails with ``RedisError`` if there is none within the limit, with the last attempt's reason.
  public func connection(within limit: TimeAmount) -> EventLoopFuture<RedisConnection> {
    eventLoop.flatSubmit { [state] in state.value.connection(within: limit) }
  }

  /// The connection, if there is one now, or why there is none. Only on the client's event loop, where it needs no
  /// future.
  public var current: Result<RedisConnection, RedisError> { state.value.current }

  /// Whether ``current`` is a connection, for callers that check often. Only on the client's event loop.
  public var hasConnection: Bool { state.value.isConnected }

  /// Whether there is a connection now. The future fails only when the event loop has ended.
  public func isConnected() -> EventLoopFuture<Bool> {
    eventLoop.submit { [state] in state.value.isConnected }
  }

  /// Closes the connection and makes no new one. The future completes when none is open any more; it never fails.
  @discardableResult
  public func shutDown() -> EventLoopFuture<Void> {
    eventLoop.flatSubmit { [state] in state.value.shutDown() }
  }

  private func onLoop<Value: Sendable>(
    _ body: @escaping @Sendable (Supervision) -> EventLoopFuture<Value>
  ) -> EventLoopFuture<Value> {
    if eventLoop.inEventLoop { return body(state.value) }
    return eventLoop.flatSubmit { [state] in body(state.value) }
  }
}

extension RedisClient {
  /// Waits for a connection up to the limit, then sends the command.
  /// - Throws: ``RedisError``. Error replies are values.
  public func execute(_ command: RedisCommand, within limit: TimeAmount = .seconds(5)) async throws -> RedisReply {
    _ = try await connection(within: limit).get()
    return try await send(command, within: limit).get()
  }

  /// Waits for a connection up to the limit, then sends the commands.
  /// - Throws: ``RedisError``. Error replies are values.
  public func execute(_ commands: [RedisCommand], within limit: TimeAmount = .seconds(5)) async throws -> [RedisReply] {
    _ = try await connection(within: limit).get()
    return try await send(commands, within: limit).get()
  }

  /// Waits for a connection up to the limit, then runs the script.
  /// - Throws: ``RedisError``. Error replies are values.
  public func execute(
    _ script: RedisScript, keys: [String], arguments: [any RedisArgument] = [], within limit: TimeAmount = .seconds(5)
  ) async throws -> RedisReply {
    _ = try await connection(within: limit).get()
    return try await run(script, keys: keys, arguments: arguments, within: limit).get()
  }
}
