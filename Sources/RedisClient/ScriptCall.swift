public import Hiredis
public import NIOCore

/// One run of a script. Each script has a type, which is the only code that knows the positions of its keys, its
/// arguments, and the values of its reply.
public protocol ScriptCall: Sendable {
  associatedtype Reply

  static var script: RedisScript { get }
  /// The script that runs: the static ``script``, unless the type stands for several that differ only in their flags.
  var script: RedisScript { get }
  var keys: [String] { get }
  var arguments: [any RedisArgument] { get }

  /// Reads the reply.
  /// - Throws: ``Hiredis/RedisServerError`` for an error reply, another error for a reply that the script never gives.
  func read(_ reply: RedisReply) throws -> Reply
}

extension ScriptCall {
  public var script: RedisScript { Self.script }
  public var arguments: [any RedisArgument] { [] }

  /// The command that runs it and puts it into the server's cache.
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
