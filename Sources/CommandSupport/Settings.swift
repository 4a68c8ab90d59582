// The sources of a command's options: the command line, else the environment, else the default. They are resolved here
// only, so that every option of every command can be given either way and every error reads the same.
//
// Commands declare their options as optional strings and parse them here, not with ArgumentParser's own conversions:
// those see only the command line, and their messages can't name the wrong variable. The environment is read through
// swift-configuration, whose encoding turns `flush-after` into `SLUICE_FLUSH_AFTER`.

public import ArgumentParser
internal import Configuration
internal import Foundation

/// Resolves options: a value on the command line wins over the environment variable `SLUICE_<NAME>` (capitals, dashes
/// as underscores), which wins over the default. An empty variable counts as not set, because `${NAME:-}` in a compose
/// file makes it empty.
public struct Settings: Sendable {
  private let environment: ConfigReader

  /// With the process's own environment.
  public init() { self.init(environment: ProcessInfo.processInfo.environment) }

  public init(environment: [String: String]) {
    self.environment = ConfigReader(provider: EnvironmentVariablesProvider(environmentVariables: environment))
  }

  /// The option's value.
  /// - Parameters:
  ///   - setting: The option.
  ///   - given: The value on the command line, if there is one.
  /// - Throws: A sentence with the option, the source of its value, the expected form and the actual text; exit code
  ///   64. Without a value and a default, a sentence with both ways to give one.
  public func value<Value>(_ setting: Setting<Value>, given: String?) throws(ValidationError) -> Value {
    if let value = try optional(setting, given: given) { return value }
    let name = setting.name
    guard let fallback = setting.fallback else {
      throw ValidationError(
        "--\(name) is missing: give it on the command line or as the environment variable \(Self.variable(of: name)); "
          + "expected \(Value.expectation)")
    }
    do throws(InvalidSetting) {
      let value = try Value(setting: fallback)
      if let expected = setting.objection(value) { throw InvalidSetting(expected: expected, came: fallback) }
      return value
    } catch {
      preconditionFailure("the default of --\(name) isn't valid: \(error)")  // A mistake in this source.
    }
  }

  /// The option's value, or nil if there is none.
  /// - Throws: As ``value(_:given:)``: an invalid value is never taken for none.
  public func optional<Value>(_ setting: Setting<Value>, given: String?) throws(ValidationError) -> Value? {
    guard let (text, origin) = text(of: setting.name, given: given) else { return nil }
    do throws(InvalidSetting) {
      let value = try Value(setting: text)
      if let expected = setting.objection(value) { throw InvalidSetting(expected: expected, came: text) }
      return value
    } catch {
      throw complaint(about: setting.name, origin, error)
    }
  }

  /// Whether a flag is on: on the command line, or by its variable.
  /// - Throws: As ``value(_:given:)``.
  public func flag(_ setting: Setting<Bool>, given: Bool) throws(ValidationError) -> Bool {
    // A flag on the command line can only turn it on, so without it the environment is read.
    if given { return true }
    return try optional(setting, given: nil) ?? false
  }

  /// The environment variable of an option: `log-level` → `SLUICE_LOG_LEVEL`.
  public static func variable(of name: String) -> String {
    "SLUICE_" + name.uppercased().replacing("-", with: "_")
  }

  private enum Origin {
    case commandLine
    case environment
  }

  private func text(of name: String, given: String?) -> (String, Origin)? {
    if let given { return (given, .commandLine) }
    guard let text = environment.string(forKey: ConfigKey(["sluice", name])), !text.isEmpty else { return nil }
    return (text, .environment)
  }

  private func complaint(about name: String, _ origin: Origin, _ error: InvalidSetting) -> ValidationError {
    switch origin {
    case .commandLine: ValidationError("--\(name) on the command line: \(error)")
    case .environment: ValidationError("--\(name) from the environment variable \(Self.variable(of: name)): \(error)")
    }
  }
}
