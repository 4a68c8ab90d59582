import ArgumentParser
import CommandSupport
import Foundation

/// Standard output of a verb: sentences for people, or JSON for programs.
struct Results {
  let isJSON: Bool

  /// Prints one result.
  /// - Parameters:
  ///   - sentence: For people.
  ///   - value: For programs. Its members are written in snake case, without nil ones.
  func print<Value: Encodable>(_ sentence: @autoclosure () -> String, _ value: @autoclosure () -> Value) throws {
    try write(isJSON ? Self.line(value()) : sentence() + "\n")
  }

  /// Prints a remark that isn't the result.
  func remark(_ sentence: String) throws {
    if isJSON { complain(sentence) } else { try write(sentence + "\n") }
  }

  /// A time in sentences.
  /// - Parameter seconds: Since 1970.
  static func time(_ seconds: Int64) -> String {
    Date(timeIntervalSince1970: Double(seconds)).formatted(.iso8601)
  }

  static func line(_ value: some Encodable) throws -> String {
    let encoder = JSONEncoder()
    encoder.keyEncodingStrategy = .convertToSnakeCase
    encoder.outputFormatting = [.sortedKeys, .withoutEscapingSlashes]
    return String(decoding: try encoder.encode(value), as: UTF8.self) + "\n"
  }

  /// - Throws: The exit status, if the reader has closed the pipe.
  func write(_ text: String) throws {
    do {
      try FileHandle.standardOutput.write(contentsOf: Data(text.utf8))
    } catch {
      complain("can't write to the standard output: \(error.localizedDescription)")
      throw ExitStatus.failed.code
    }
  }
}

/// One key, as JSON.
struct KeyResult: Encodable {
  var keyId: String
  var account: String?
  var state: String?
  /// Seconds since 1970.
  var since: Int64?
  /// When the key ends, in seconds since 1970.
  var expiresAt: Int64?
  var revision: UInt64?
  /// Whether this command changed it.
  var changed: Bool?
  /// The store's version after the command; or if a key is only read, the version of the key's last change.
  var version: UInt64?
}
