// Where a command's options come from: the command line, else the environment, else the default. One place resolves all of
// them, so that every option of every command can be given either way and every complaint reads the same.
//
// Commands declare their options as optional strings and parse them here, not with ArgumentParser's own conversions: those see
// only the command line, and their messages can't say which variable was wrong. The environment is read through
// swift-configuration, whose encoding makes `flush-after` into `SLUICE_FLUSH_AFTER`.

public import ArgumentParser
internal import Configuration
internal import Foundation

/// Resolves options: a value of the command line wins over the environment variable `SLUICE_<NAME>` (capitals, dashes as
/// underscores), which wins over the default. An empty variable counts as not set, as `${NAME:-}` in a compose file makes it.
public struct Settings: Sendable {
  private let environment: ConfigReader

  /// With the process's own environment.
  public init() { self.init(environment: ProcessInfo.processInfo.environment) }

  public init(environment: [String: String]) {
    self.environment = ConfigReader(provider: EnvironmentVariablesProvider(environmentVariables: environment))
  }

  /// The option's value.
  /// - Parameters:
  ///   - name: As on the command line, without the dashes in front: `log-level`.
  ///   - given: What the command line says, if it says anything.
  ///   - fallback: The default, as one would write it on the command line.
  ///   - type: What the text is to become.
  /// - Throws: A sentence with the option, where its value came from, what was expected and what came; exit code 64.
  public func value<Value: SettingValue>(
    _ name: String, given: String?, default fallback: String, as type: Value.Type = Value.self
  ) throws(ValidationError) -> Value {
    if let value = try optional(name, given: given, as: type) { return value }
    do throws(InvalidSetting) {
      return try Value(setting: fallback)
    } catch {
      preconditionFailure("the default of --\(name) is not a value of it: \(error)")  // A mistake in our own source.
    }
  }

  /// The option's value, which must lie in the range.
  /// - Throws: As ``value(_:given:default:as:)``; the sentence names the range.
  public func value<Value: SettingValue & Comparable>(
    _ name: String, given: String?, default fallback: String, in range: ClosedRange<Value>,
    as type: Value.Type = Value.self
  ) throws(ValidationError) -> Value {
    let value = try value(name, given: given, default: fallback, as: type)
    try check(value, of: name, given: given, in: range)
    return value
  }

  /// The option's value, or nil where nobody gave one.
  /// - Throws: As ``value(_:given:default:as:)``: a value that isn't understood is never taken for none.
  public func optional<Value: SettingValue>(
    _ name: String, given: String?, as type: Value.Type = Value.self
  ) throws(ValidationError) -> Value? {
    guard let (text, origin) = text(of: name, given: given) else { return nil }
    do throws(InvalidSetting) {
      return try Value(setting: text)
    } catch {
      throw complaint(about: name, origin, error)
    }
  }

  /// The option's value, which must lie in the range, or nil where nobody gave one.
  /// - Throws: As ``value(_:given:default:as:)``; the sentence names the range.
  public func optional<Value: SettingValue & Comparable>(
    _ name: String, given: String?, in range: ClosedRange<Value>, as type: Value.Type = Value.self
  ) throws(ValidationError) -> Value? {
    guard let value = try optional(name, given: given, as: type) else { return nil }
    try check(value, of: name, given: given, in: range)
    return value
  }

  /// The value of an option that has no default.
  /// - Throws: As ``value(_:given:default:as:)``; where nobody gave one, a sentence with both ways to give it.
  public func required<Value: SettingValue>(
    _ name: String, given: String?, as type: Value.Type = Value.self
  ) throws(ValidationError) -> Value {
    if let value = try optional(name, given: given, as: type) { return value }
    throw missing(name, expected: Value.expectation)
  }

  func missing(_ name: String, expected: String) -> ValidationError {
    ValidationError(
      "--\(name) is missing: give it on the command line or as the environment variable \(Self.variable(of: name)); "
        + "expected \(expected)")
  }

  /// A flag: on when the command line has it or the variable says yes.
  /// - Throws: As ``value(_:given:default:as:)``.
  public func flag(_ name: String, given: Bool) throws(ValidationError) -> Bool {
    // A flag of the command line can only say yes, so the environment is asked where it isn't there.
    if given { return true }
    return try optional(name, given: nil, as: Bool.self) ?? false
  }

  /// The environment variable that gives an option: `log-level` → `SLUICE_LOG_LEVEL`.
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

  private func check<Value: SettingValue & Comparable>(
    _ value: Value, of name: String, given: String?, in range: ClosedRange<Value>
  ) throws(ValidationError) {
    guard !range.contains(value) else { return }
    throw outside(
      name, given: given, expected: "\(Value.expectation) from \(range.lowerBound) to \(range.upperBound)")
  }

  func outside(_ name: String, given: String?, expected: String) -> ValidationError {
    guard let (text, origin) = text(of: name, given: given) else {
      preconditionFailure("the default of --\(name) is outside its range")  // A mistake in our own source.
    }
    return complaint(about: name, origin, InvalidSetting(expected: expected, came: text))
  }

  private func complaint(about name: String, _ origin: Origin, _ error: InvalidSetting) -> ValidationError {
    switch origin {
    case .commandLine: ValidationError("--\(name) on the command line: \(error)")
    case .environment: ValidationError("--\(name) from the environment variable \(Self.variable(of: name)): \(error)")
    }
  }
}
