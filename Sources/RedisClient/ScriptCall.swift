public import Hiredis
public import NIOCore

/// One run of a script. Each script has a type. Only that type contains the positions of the script's keys and
/// arguments and the values of its reply.
public protocol ScriptCall: Sendable {
  associatedtype Reply

  static var script: RedisScript { get }
  /// The script to run: the static ``script``, unless the type has several that differ only in their flags.
  var script: RedisScript { get }
  var keys: [String] { get }
  var arguments: [any RedisArgument] { get }

  /// Reads the reply.
  /// - Throws: ``Hiredis/RedisServerError`` for an error reply, another error for a reply that the script never
  ///   returns.
  func read(_ reply: RedisReply) throws -> Reply
}

extension ScriptCall {
  public var script: RedisScript { Self.script }
  public var arguments: [any RedisArgument] { [] }

  /// The command that runs the script and adds it to the server's cache.
  public var commandWithSource: RedisCommand { script.commandWithSource(keys: keys, arguments: arguments) }
}

extension RedisConnection {
  /// As ``run(_:keys:arguments:within:)``.
  public func run(_ call: some ScriptCall, within limit: TimeAmount? = nil) -> EventLoopFuture<RedisReply> {
    run(call.script, keys: call.keys, arguments: call.arguments, within: limit)
  }

  /// As ``execute(_:keys:arguments:within:)``.
  public func execute(_ call: some ScriptCall, within limit: TimeAmount? = nil) async throws -> RedisReply {
    try await run(call, within: limit).get()
  }
}

extension RedisClient {
  /// As ``run(_:keys:arguments:within:)``.
  public func run(_ call: some ScriptCall, within limit: TimeAmount? = nil) -> EventLoopFuture<RedisReply> {
    run(call.script, keys: call.keys, arguments: call.arguments, within: limit)
  }

  /// As ``execute(_:keys:arguments:within:)``.
  public func execute(_ call: some ScriptCall, within limit: TimeAmount = .seconds(5)) async throws -> RedisReply {
    try await execute(call.script, keys: call.keys, arguments: call.arguments, within: limit)
  }
}
