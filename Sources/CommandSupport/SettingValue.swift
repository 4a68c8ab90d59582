// Parses a text as the value of an option. The initialiser throws instead of returning nil: the type itself knows the
// expected form and whether the actual text may be repeated in a message.

public import Logging
public import RedisClient

/// A type that an option can have.
public protocol SettingValue: Sendable {
  /// - Throws: The expected form and the actual text.
  init(setting text: String) throws(InvalidSetting)

  /// The form of a value, to follow the word "expected": `a whole number`.
  static var expectation: String { get }
}

/// A text that isn't a value of its option's type. The description is the second half of a sentence; ``Settings`` puts
/// the option's name in front.
public struct InvalidSetting: Error, Sendable, Equatable, CustomStringConvertible {
  public let description: String

  /// For a type with an error text of its own.
  public init(_ description: String) { self.description = description }

  /// - Parameters:
  ///   - expected: The form of a value, to follow the word "expected".
  ///   - came: The actual text. It must not be a secret, because it is shown. Cut after 100 characters.
  public init(expected: String, came: String) {
    let shown = came.count > 100 ? came.prefix(100) + "…" : came[...]
    description = "expected \(expected), got \"\(shown)\""
  }
}

/// One of some words: enums need nothing more.
extension SettingValue where Self: RawRepresentable & CaseIterable, RawValue == String {
  public static var expectation: String { allCases.map(\.rawValue).joined(separator: " or ") }

  public init(setting text: String) throws(InvalidSetting) {
    guard let value = Self(rawValue: text) else { throw InvalidSetting(expected: Self.expectation, came: text) }
    self = value
  }
}

extension String: SettingValue {
  public static var expectation: String { "a non-empty text" }

  public init(setting text: String) throws(InvalidSetting) {
    guard !text.isEmpty else { throw InvalidSetting(expected: Self.expectation, came: text) }
    self = text
  }
}

extension Int: SettingValue {
  public static var expectation: String { "a whole number" }

  /// Underscores may group the digits: `1_000_000`.
  public init(setting text: String) throws(InvalidSetting) {
    guard let number = Int(text.replacing("_", with: "")) else {
      throw InvalidSetting(expected: Self.expectation, came: text)
    }
    self = number
  }
}

extension Double: SettingValue {
  public static var expectation: String { "a number" }

  public init(setting text: String) throws(InvalidSetting) {
    guard let number = Double(text), number.isFinite else {
      throw InvalidSetting(expected: Self.expectation, came: text)
    }
    self = number
  }
}

extension Bool: SettingValue {
  public static var expectation: String { "true or false" }

  /// Also yes and no, on and off, 1 and 0; in small or capital letters.
  public init(setting text: String) throws(InvalidSetting) {
    switch text.lowercased() {
    case "true", "yes", "on", "1": self = true
    case "false", "no", "off", "0": self = false
    default: throw InvalidSetting(expected: Self.expectation, came: text)
    }
  }
}

extension Duration: SettingValue {
  public static var expectation: String { "a length of time such as 250ms, 5s, 2m or 1h (a bare number is in seconds)" }

  /// From zero to ten years. Nobody needs more, and adding it to a clock's time must not overflow.
  public init(setting text: String) throws(InvalidSetting) {
    let units: [(String, Double)] = [("ms", 0.001), ("s", 1), ("m", 60), ("h", 3_600), ("d", 86_400)]
    let unit = units.first { text.hasSuffix($0.0) }
    // Only digits and a point: `Double` would accept "inf", "nan", "0x1p3" and "1e300" as well.
    let digits = text.dropLast(unit?.0.count ?? 0)
    guard digits.allSatisfy({ $0.isASCII && ($0.isNumber || $0 == ".") }), let number = Double(digits),
      number * (unit?.1 ?? 1) <= 10 * 365 * 86_400
    else { throw InvalidSetting(expected: Self.expectation, came: text) }
    self = .milliseconds(Int64((number * (unit?.1 ?? 1) * 1_000).rounded()))
  }
}

extension RedisEndpoint: SettingValue {
  public static var expectation: String {
    "redis://[user:password@]host:port[/db], rediss://…, unix:///path, redis+sentinel://… or redis+cluster://…"
  }

  /// The actual text is not shown as a whole: it may contain a password.
  public init(setting text: String) throws(InvalidSetting) {
    do throws(InvalidEndpoint) {
      try self.init(text)
    } catch {
      throw InvalidSetting(error.description)
    }
  }
}

extension Namespace: SettingValue {
  public static var expectation: String {
    "1 to 64 letters, digits, \"-\", \"_\" or \".\", or these in braces"
  }

  public init(setting text: String) throws(InvalidSetting) {
    guard let namespace = Namespace(text) else { throw InvalidSetting(expected: Self.expectation, came: text) }
    self = namespace
  }
}

extension AddressMap: SettingValue {
  public static var expectation: String { "pairs of announced=reachable, separated by commas" }

  public init(setting text: String) throws(InvalidSetting) {
    do throws(InvalidAddressMap) {
      try self.init(text)
    } catch {
      throw InvalidSetting(error.description)
    }
  }
}

extension Secret: SettingValue {
  public static var expectation: String { "a secret that isn't empty" }

  public init(setting text: String) throws(InvalidSetting) {
    guard !text.isEmpty else { throw InvalidSetting("expected \(Self.expectation)") }
    self.init(text)
  }
}

extension Logger.Level: SettingValue {
  public static var expectation: String { allCases.map(\.rawValue).joined(separator: ", ") }

  public init(setting text: String) throws(InvalidSetting) {
    guard let level = Logger.Level(rawValue: text.lowercased()) else {
      throw InvalidSetting(expected: "one of \(Self.expectation)", came: text)
    }
    self = level
  }
}
