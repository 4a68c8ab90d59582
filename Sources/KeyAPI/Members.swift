internal import KeyReplica
internal import KeyStore

/// A JSON object whose members are read by name. An error's text has the place, and what was expected and found there.
/// The text never contains a value or an unknown name, because both may be secrets.
struct Members {
  private let values: [String: JSONValue]
  /// The beginning of an error's text: `changes[3].`, or empty for the body.
  private let path: String

  /// - Parameters:
  ///   - path: The object's place in the body; empty for the body itself.
  ///   - names: The names of all members. Other members are an error: a misspelt `reactivate` must not be ignored.
  init(_ value: JSONValue, at path: String = "", names: [String]) throws(APIProblem) {
    guard case .object(let values) = value else {
      throw .invalid(path.isEmpty ? "the body" : path, expected: "a JSON object", found: value.kind)
    }
    let unknown = values.keys.count { !names.contains($0) }
    guard unknown == 0 else {
      throw .invalid(
        path.isEmpty ? "the body" : path, expected: "only the members \(names.joined(separator: ", "))",
        found: "\(unknown) more")
    }
    self.values = values
    self.path = path.isEmpty ? "" : path + "."
  }

  func has(_ name: String) -> Bool { values[name] != nil }

  func string(_ name: String) throws(APIProblem) -> String {
    switch values[name] {
    case .string(let text): return text
    case let other: throw invalid(name, expected: "a string", found: other)
    }
  }

  /// false if the member is missing.
  func flag(_ name: String) throws(APIProblem) -> Bool {
    switch values[name] {
    case nil: return false
    case .bool(let value): return value
    case let other: throw invalid(name, expected: "true or false", found: other)
    }
  }

  /// nil if the member is missing.
  func number(_ name: String, upTo limit: UInt64) throws(APIProblem) -> UInt64? {
    let expected = "a whole number from 0 to \(limit)"
    switch values[name] {
    case nil: return nil
    case .integer(let number) where number <= limit: return number
    case .number(let number) where number >= 0 && number <= Double(limit) && number == number.rounded():
      return UInt64(number)
    case .integer, .number: throw .invalid(path + name, expected: expected, found: "another number")
    case let other: throw invalid(name, expected: expected, found: other)
    }
  }

  func array(_ name: String) throws(APIProblem) -> [JSONValue] {
    switch values[name] {
    case .array(let items): return items
    case let other: throw invalid(name, expected: "an array", found: other)
    }
  }

  func account() throws(APIProblem) -> String {
    let account = try string("account")
    if let objection = KeyRecord.objection(toAccount: account) {
      throw .invalid(path + "account", expected: "1 to 255 bytes without control characters", found: objection)
    }
    return account
  }

  func state() throws(APIProblem) -> KeyState {
    let word = try string("state")
    guard let state = KeyState(word: word) else {
      throw .invalid(
        path + "state", expected: "active, suspended or revoked",
        found: "another value (\(word.utf8.count) bytes, not shown)")
    }
    return state
  }

  /// Null removes the expiry; without the member the expiry stays.
  func expiry() throws(APIProblem) -> ExpiryChange {
    let seconds: Int64?
    switch values["expires_at"] {
    case nil: return .keep
    case .null: return .remove
    case .string(let text): seconds = ExpiryChange.seconds(ofTime: text)
    case .integer, .number:
      return .set(Int64(try number("expires_at", upTo: UInt64(KeyRecord.expiryLimit)) ?? 0))
    case let other: throw invalid("expires_at", expected: "\(ExpiryChange.expectation), or null", found: other)
    }
    guard let seconds else {
      throw .invalid(
        path + "expires_at", expected: "\(ExpiryChange.expectation), or null", found: "a string that isn't such a time")
    }
    return .set(seconds)
  }

  private func invalid(_ name: String, expected: String, found: JSONValue?) -> APIProblem {
    .invalid(path + name, expected: expected, found: found?.kind ?? "none")
  }
}
