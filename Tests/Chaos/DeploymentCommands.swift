// Operations on a deployment from outside: running commands, sending commands to Redis without the proxies, and saving
// the files of a failed round.

import Foundation
import Hiredis
import NIOCore
import NIOPosix
import RedisClient
import RedisFixture

extension Deployment {
  // MARK: Commands

  /// Runs a command of ours to its end.
  @discardableResult
  func run(_ command: String, _ arguments: [String], within limit: Duration) async throws -> ServiceProcess {
    let port = replicated?.address.port ?? redis.port
    let process = try await ServiceProcess.start(
      command, arguments, environment: Self.environment(redis: port))
    do {
      _ = try await process.waitForExit(within: limit)
    } catch {
      process.kill9()
      throw error
    }
    try await eventually("its output is read to the end") {
      process.standardOutput.isComplete && process.standardError.isComplete
    }
    return process
  }

  /// Whether a command knows an option.
  static func knows(_ command: String, _ option: String) async throws -> Bool {
    let help = try await ServiceProcess.start(command, ["--help"])
    _ = try await help.waitForExit()
    try await eventually("the help is read to the end") { help.standardOutput.isComplete }
    return help.standardOutput.text.contains("\(option) ")
  }

  /// Sends Redis one command, past all proxies.
  @discardableResult
  func command(_ name: String, _ arguments: any RedisArgument...) async throws -> RedisReply {
    try await command(name, arguments: arguments, within: .seconds(5))
  }

  @discardableResult
  func command(
    _ name: String, arguments: [any RedisArgument], within limit: TimeAmount
  ) async throws -> RedisReply {
    var options = RedisOptions(name: "chaos")
    options.connectDeadline = min(limit, .seconds(2))
    options.commandDeadline = limit
    let connection = try await RedisConnection.connected(
      to: redis.endpoint, options: options, on: MultiThreadedEventLoopGroup.singleton.any())
    defer { connection.close() }
    return try await connection.execute(RedisCommand(name, arguments: arguments)).orThrow()
  }

  // MARK: Filling Redis

  private static let filler = "chaos-filler"

  /// Makes a key so large that nothing more may be written.
  func fillRedis() async throws {
    let info = try await command("INFO", "memory").string()
    guard let used = info.firstMatch(of: /used_memory:(\d+)/).flatMap({ Int($0.1) }) else {
      throw Trouble(description: "Redis doesn't say how much memory it uses")
    }
    try await command("SETRANGE", Self.filler, max(Self.maxMemory - used, 0) + (1 << 20), "x")
  }

  func emptyRedis() async throws { try await command("UNLINK", Self.filler) }

  // MARK: After a failure

  /// Copies what Redis has on its disk to where the logs are.
  func keepRedisFiles() {
    do {
      try FileManager.default.copyItem(
        atPath: redis.folder.path("appendonlydir"), toPath: folder.appending(path: "appendonlydir").path)
      try redis.log.write(to: folder.appending(path: "redis.log"), atomically: true, encoding: .utf8)
    } catch {
      say("Redis's files couldn't be kept: \(error)")
    }
  }

  /// The ends of all logs.
  func lastWords() -> String {
    let end = redis.log.split(separator: "\n").suffix(8).joined(separator: "\n")
    return (members.map { $0.lastWords(12) } + ["--- redis, the end of its log\n\(end)"]).joined(separator: "\n")
  }
}
