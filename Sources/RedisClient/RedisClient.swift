// A connection that is opened again whenever it is lost. If the address leads to several servers, the right one is
// looked up again.
//
// The client never repeats a command: after a failure only the caller knows whether a second execution would be
// harmless. And no command waits for a connection: without one it fails at once as not sent, so that a node whose Redis
// is unreachable can answer 503 immediately, and not after several time-outs. `connection()` waits for a connection.
//
// In a cluster there are two exceptions, in SlotRouting: a command that a node refuses because the slot is at another
// node is sent there, and a command that it refuses because the slot is moving is sent again until the command's
// deadline. In both cases the refused command wasn't carried out.

public import Hiredis
public import Logging
public import NIOCore

/// A Redis connection that is kept open, on one event loop. It continues until ``shutDown()``, even if this object is
/// no longer retained.
public final class RedisClient: Sendable {
  public let endpoint: RedisEndpoint
  public let eventLoop: any EventLoop

  private let options: RedisOptions
  private let backoff: Backoff
  private let key: String?
  private var commandDeadline: TimeAmount { options.commandDeadline }
  private let state: NIOLoopBoundBox<Supervision>
  /// In a cluster: a key in the slot.
  private let slotKey: String?

  /// Starts connecting at once.
  /// - Parameter key: In a cluster, it selects the slot: the name of a key under which nothing is ever stored.
  ///   Otherwise it is ignored. It is added to the keys of every script, but the script doesn't see it. Because the key
  ///   doesn't exist, no script can start while the slot is moving. Otherwise a key could be missing in the middle of a
  ///   script, because it has already moved.
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

  /// A client of the same Redis with a separate connection, for commands that may cause Redis to close the connection.
  /// It doesn't log; this client does. The caller shuts it down.
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

  /// Sends commands that are already encoded, for the hot path; fails at once while there is no connection.
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

  /// Sends on the ``current`` connection, for callers whose decision depends on that connection. Only on the client's
  /// event loop.
  /// - Parameter isBoundToServer: In a cluster: whether only the server of this connection may carry the commands out.
  ///   If the slot leaves that server, they fail as not sent.
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

  /// The connection, as soon as there is one. In a cluster its replies may be redirections: to send commands, use the
  /// client itself.
  ///
  /// Fails with ``RedisError`` if there is none within the limit, with the reason of the last attempt.
  public func connection(within limit: TimeAmount) -> EventLoopFuture<RedisConnection> {
    eventLoop.flatSubmit { [state] in state.value.connection(within: limit) }
  }

  /// The connection if there is one now, or why there is none. Only on the client's event loop, where no future is
  /// needed.
  public var current: Result<RedisConnection, RedisError> { state.value.current }

  /// Whether ``current`` is a connection, for callers that check often. Only on the client's event loop.
  public var hasConnection: Bool { state.value.isConnected }

  /// Whether there is a connection now. The future fails only when the event loop has ended.
  public func isConnected() -> EventLoopFuture<Bool> {
    eventLoop.submit { [state] in state.value.isConnected }
  }

  /// Closes the connection and opens no new one. The future completes when no connection is open; it never fails.
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
