// The commands log to standard error, which their supervisor (systemd, Docker) collects. Standard output is for a
// command's results.

public import ArgumentParser
public import Logging

/// The option for the log level, and the start of logging.
public struct LogArguments: ParsableArguments {
  private static let logLevel = Setting<Logger.Level>(
    "log-level", "\(Logger.Level.expectation).", shown: "level", default: "info")
  @Option(help: Self.logLevel.help) public var logLevel: String?

  public init() {}

  /// Starts logging to standard error. Call it once in a process, before anything logs.
  /// - Parameters:
  ///   - settings: The source of the log level.
  ///   - label: The command's name.
  /// - Returns: The command's logger.
  /// - Throws: As ``Settings/value(_:given:)``.
  public func start(_ settings: Settings, label: String) throws(ValidationError) -> Logger {
    let level = try settings.value(Self.logLevel, given: logLevel)
    LoggingSystem.bootstrap { label in
      var handler = StreamLogHandler(label: label, stream: LogWriter.standardError)
      handler.logLevel = level
      return handler
    }
    return Logger(label: label)
  }
}
