// Where the commands' log goes: standard error, for whatever runs them (systemd, Docker) to collect. Standard output
// belongs to what a command is asked for.

public import ArgumentParser
public import Logging

/// The option that says how much is logged, and the start of logging.
public struct LogArguments: ParsableArguments {
  private static let logLevel = Setting<Logger.Level>(
    "log-level", "\(Logger.Level.expectation).", shown: "level", default: "info")
  @Option(help: Self.logLevel.help) public var logLevel: String?

  public init() {}

  /// Starts logging to standard error. To be called once in a process, before anything logs.
  /// - Parameters:
  ///   - settings: Where the level comes from.
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
