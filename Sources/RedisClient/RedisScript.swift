internal import Bytes
public import Hiredis
internal import Crypto
public import NIOCore

/// A Lua script that Redis runs as one atomic step.
public struct RedisScript: Sendable {
  /// For messages.
  public let name: String
  public let source: String
  /// The SHA-1 of the source in hexadecimal digits: Redis's name for it.
  public let digest: String
  /// The source for a client of one slot: it removes the additional key, so that the script doesn't see it.
  private let slotSource: String
  private let slotDigest: String
  /// Whether its flags say that it writes nothing. With the read-only commands it then needs no right to write to its
  /// keys. For EVAL Redis demands that right, because it can't inspect a script.
  private let writesNothing: Bool

  public init(name: String, source: String) {
    self.name = name
    self.source = source
    digest = Self.digest(of: source)
    writesNothing = source.prefix { $0 != "\n" }.contains("no-writes")
    // After the line of flags, if there is one, and on the same line as the code that follows, so that the line numbers
    // in error messages stay the same.
    let begin = source.hasPrefix("#!") ? source.firstIndex(of: "\n").map(source.index(after:)) : source.startIndex
    slotSource = source[..<(begin ?? source.endIndex)] + "KEYS[#KEYS] = nil; " + source[(begin ?? source.endIndex)...]
    slotDigest = Self.digest(of: slotSource)
  }

  private static func digest(of source: String) -> String {
    Insecure.SHA1.hash(data: [UInt8](source.utf8)).map { $0.hexDigits() }.joined()
  }

  /// The command that runs the script if it is in the server's cache.
  public func command(keys: [String], arguments: [any RedisArgument]) -> RedisCommand {
    command("EVALSHA", digest, keys, arguments)
  }

  /// The command that runs the script and adds it to the server's cache.
  public func commandWithSource(keys: [String], arguments: [any RedisArgument]) -> RedisCommand {
    command("EVAL", source, keys, arguments)
  }

  /// As ``command(keys:arguments:)``, with an additional key that the script doesn't see.
  func command(keys: [String], slotKey: String, arguments: [any RedisArgument]) -> RedisCommand {
    command("EVALSHA", slotDigest, keys + [slotKey], arguments)
  }

  /// As ``commandWithSource(keys:arguments:)``, with an additional key that the script doesn't see.
  func commandWithSource(keys: [String], slotKey: String, arguments: [any RedisArgument]) -> RedisCommand {
    command("EVAL", slotSource, keys + [slotKey], arguments)
  }

  private func command(
    _ name: String, _ script: String, _ keys: [String], _ arguments: [any RedisArgument]
  ) -> RedisCommand {
    RedisCommand(
      writesNothing ? name + "_RO" : name, arguments: [script, keys.count] + (keys as [any RedisArgument]) + arguments)
  }
}

extension RedisConnection {
  /// Runs a script by its digest. If the server doesn't have it, runs it again with its source. NOSCRIPT is answered
  /// before anything runs, so the second try can't repeat an effect. Both tries share one deadline.
  public func run(
    _ script: RedisScript, keys: [String], arguments: [any RedisArgument] = [], within limit: TimeAmount? = nil
  ) -> EventLoopFuture<RedisReply> {
    let deadline = NIODeadline.now() + (limit ?? commandDeadline)
    return send([script.command(keys: keys, arguments: arguments)], deadline: deadline).flatMap { replies in
      guard case .error(let error) = replies[0], error.isNoScript else {
        return self.eventLoop.makeSucceededFuture(replies[0])
      }
      return self.send([script.commandWithSource(keys: keys, arguments: arguments)], deadline: deadline).map { $0[0] }
    }
  }
}

/// The same for callers in structured concurrency. Only the deadline limits a wait: cancelling the task doesn't shorten
/// it, because a command that was sent can't be taken back.
extension RedisConnection {
  /// - Throws: Only ``RedisError``, when the connection has ended. Error replies are values.
  public static func connected(
    to endpoint: RedisEndpoint, options: RedisOptions = RedisOptions(), routedBy key: String? = nil,
    on eventLoop: any EventLoop
  ) async throws -> RedisConnection {
    try await connect(to: endpoint, options: options, routedBy: key, on: eventLoop).get()
  }

  /// - Throws: Only ``RedisError``, when the connection has ended. Error replies are values.
  public func execute(_ command: RedisCommand, within limit: TimeAmount? = nil) async throws -> RedisReply {
    try await send(command, within: limit).get()
  }

  /// - Throws: Only ``RedisError``, when the connection has ended. Error replies are values.
  public func execute(_ commands: [RedisCommand], within limit: TimeAmount? = nil) async throws -> [RedisReply] {
    try await send(commands, within: limit).get()
  }

  /// - Throws: Only ``RedisError``, when the connection has ended. Error replies are values.
  public func execute(
    _ script: RedisScript, keys: [String], arguments: [any RedisArgument] = [], within limit: TimeAmount? = nil
  ) async throws -> RedisReply {
    try await run(script, keys: keys, arguments: arguments, within: limit).get()
  }
}
