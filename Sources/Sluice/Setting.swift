// One option, declared once: what its help says and what its value becomes when nobody gives one can't come apart.

public import ArgumentParser

/// An option of a command: its name, what it means, its default and its bounds.
///
/// ```swift
/// static let body = Setting<Int>("max-body", "The largest body taken, in bytes.", shown: "bytes", default: "16777216", in: 1...(1 << 30))
/// @Option(help: body.help) var maxBody: String?
/// …
/// let limit = try settings.value(Self.body, given: maxBody)
/// ```
public struct Setting<Value: SettingValue>: Sendable {
  /// As on the command line, without the dashes in front.
  public let name: String
  let fallback: String?
  /// Says what is wrong with a value, to follow the word "expected"; nil where nothing is.
  let objection: @Sendable (Value) -> String?
  /// For the option's declaration.
  public let help: ArgumentHelp

  /// - Parameters:
  ///   - meaning: A sentence or two.
  ///   - shown: Stands for the value in the command's usage.
  ///   - fallback: The default, as one would write it; nil for none.
  ///   - fallbackShown: The default in words, where it isn't the same everywhere, or what it means not to give one.
  public init(
    _ name: String, _ meaning: String, shown: String, default fallback: String? = nil, as fallbackShown: String? = nil
  ) {
    self.init(name, meaning, shown: shown, fallback, fallbackShown, objection: { _ in nil })
  }

  /// - Parameter range: Where a value must lie.
  public init(
    _ name: String, _ meaning: String, shown: String, default fallback: String? = nil, as fallbackShown: String? = nil,
    in range: ClosedRange<Value>
  ) where Value: Comparable {
    self.init(name, meaning, shown: shown, fallback, fallbackShown) { value in
      range.contains(value) ? nil : "\(Value.expectation) from \(range.lowerBound) to \(range.upperBound)"
    }
  }

  private init(
    _ name: String, _ meaning: String, shown: String, _ fallback: String?, _ fallbackShown: String?,
    objection: @escaping @Sendable (Value) -> String?
  ) {
    self.name = name
    self.fallback = fallback
    self.objection = objection
    let standard = (fallbackShown ?? fallback).map { "default: \($0); " } ?? ""
    help = ArgumentHelp("\(meaning) (\(standard)environment: \(Settings.variable(of: name)))", valueName: shown)
  }
}

extension Settings {
  /// The option's value.
  /// - Parameter given: What the command line says, if it says anything.
  /// - Throws: A sentence with the option, where its value came from, what was expected and what came; exit code 64.
  public func value<Value>(_ setting: Setting<Value>, given: String?) throws(ValidationError) -> Value {
    if let value = try optional(setting, given: given) { return value }
    guard let fallback = setting.fallback else { throw missing(setting.name, expected: Value.expectation) }
    do throws(InvalidSetting) {
      return try Value(setting: fallback)
    } catch {
      preconditionFailure("the default of --\(setting.name) is not a value of it: \(error)")  // A mistake of our own.
    }
  }

  /// The option's value, or nil where nobody gave one.
  /// - Throws: As ``value(_:given:)``: a value that isn't understood is never taken for none.
  public func optional<Value>(_ setting: Setting<Value>, given: String?) throws(ValidationError) -> Value? {
    guard let value = try optional(setting.name, given: given, as: Value.self) else { return nil }
    if let expected = setting.objection(value) { throw outside(setting.name, given: given, expected: expected) }
    return value
  }
}
