// One option, declared once, so that its help text and its default can't differ.

public import ArgumentParser

/// An option of a command: its name, meaning, default and range.
///
/// ```swift
/// static let body = Setting<Int>(
///   "max-body", "Maximum request body.", shown: "bytes", default: "16777216", in: 1...(1 << 30))
/// @Option(help: body.help) var maxBody: String?
/// …
/// let limit = try settings.value(Self.body, given: maxBody)
/// ```
public struct Setting<Value: SettingValue>: Sendable {
  /// As on the command line, without the dashes in front.
  public let name: String
  let fallback: String?
  /// Nil if a value is allowed; otherwise the required form, to follow the word "expected".
  let objection: @Sendable (Value) -> String?
  /// For the option's declaration.
  public let help: ArgumentHelp

  /// An option of any value.
  /// - Parameters:
  ///   - name: As on the command line, without the dashes in front.
  ///   - meaning: A sentence or two.
  ///   - shown: Stands for the value in the command's usage.
  ///   - fallback: The default, as on the command line; nil for none.
  ///   - fallbackShown: A description of the default, if it isn't the same everywhere, or of the behaviour without a
  ///     value.
  ///   - isRequired: Whether a value is required.
  public init(
    _ name: String, _ meaning: String, shown: String, default fallback: String? = nil, as fallbackShown: String? = nil,
    isRequired: Bool = false
  ) {
    self.init(name, meaning, shown: shown, fallback, fallbackShown, isRequired) { _ in nil }
  }

  /// An option whose value must be in a range.
  /// - Parameters:
  ///   - name: As on the command line, without the dashes in front.
  ///   - meaning: A sentence or two.
  ///   - shown: Stands for the value in the command's usage.
  ///   - fallback: The default, as on the command line; nil for none.
  ///   - fallbackShown: A description of the default, if it isn't the same everywhere, or of the behaviour without a
  ///     value.
  ///   - range: The allowed values.
  public init(
    _ name: String, _ meaning: String, shown: String, default fallback: String? = nil, as fallbackShown: String? = nil,
    in range: ClosedRange<Value>
  ) where Value: Comparable {
    self.init(name, meaning, shown: shown, fallback, fallbackShown, false) { value in
      range.contains(value) ? nil : "\(Value.expectation) from \(range.lowerBound) to \(range.upperBound)"
    }
  }

  private init(
    _ name: String, _ meaning: String, shown: String?, _ fallback: String?, _ fallbackShown: String?,
    _ isRequired: Bool,
    objection: @escaping @Sendable (Value) -> String?
  ) {
    self.name = name
    self.fallback = fallback
    self.objection = objection
    let standard = isRequired ? "required; " : (fallbackShown ?? fallback).map { "default: \($0); " } ?? ""
    help = ArgumentHelp("\(meaning) (\(standard)environment: \(Settings.variable(of: name)))", valueName: shown)
  }
}

extension Setting where Value == Bool {
  /// A flag: on the command line it has no value, and in the environment it says yes or no.
  public static func flag(_ name: String, _ meaning: String) -> Setting {
    Setting(name, meaning, shown: nil, nil, nil, false) { _ in nil }
  }
}
