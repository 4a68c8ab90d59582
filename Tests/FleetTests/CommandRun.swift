import RedisFixture

/// The result of a program that has ended.
struct CommandRun {
  var status: RedisFixture.ExitStatus
  /// Without the last line's end.
  var output: String
  var errors: String

  /// - Parameters: As those of ``RedisFixture/ServiceProcess/start(_:_:environment:)``.
  static func of(
    _ program: String, _ arguments: [String], environment: [String: String] = [:], within limit: Duration = .seconds(30)
  ) async throws -> CommandRun {
    let process = try await ServiceProcess.start(program, arguments, environment: environment)
    let status = try await process.waitForExit(within: limit)
    try await eventually("everything it printed is there") {
      process.standardOutput.isComplete && process.standardError.isComplete
    }
    return CommandRun(
      status: status, output: process.standardOutput.text, errors: process.standardError.text)
  }
}
