// Where the commands' log goes: standard error, for whatever runs them (systemd, Docker) to collect. Standard output
// belongs to what a command is asked for.

public import ArgumentParser
public import Logging

/// The option that says how much is logged, and the start of logging.
public struct LogArguments: ParsableArguments {
  @Option(
    name: .customLong("log-level"),
    help: ArgumentHelp(
      "trace, debug, info, notice, warning, error or critical. (default: info; environment: SLUICE_LOG_LEVEL)",
      valueName: "level"))
  public var logLevel: String?

  public init() {}

  /// Starts logging to standard error. To be called once in a process, before anything logs.
  /// - Parameters:
  ///   - settings: Where the level comes from.
  ///   - label: The command's name.
  ///   - level: The level where nobody gave one.
  /// - Returns: The command's logger.
  /// - Throws: As ``Settings/value(_:given:default:as:)``.
  public func start(_ settings: Settings, label: String, default level: Logger.Level = .info) throws(ValidationError)
    -> Logger
  {
    let level = try settings.value("log-level", given: logLevel, default: level.rawValue, as: Logger.Level.self)
    LoggingSystem.bootstrap { label in
      var handler = StreamLogHandler.standardError(label: label)
      handler.logLevel = level
      return handler
    }
    return Logger(label: label)
  }
}
