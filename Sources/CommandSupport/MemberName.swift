// The name of a node or a worker. Few characters are allowed, because the name is part of Redis fields, log lines,
// metric labels and tables.

internal import Foundation

/// A node's or a worker's name: 1 to 64 letters, digits, `_`, `.` or `-`.
public struct MemberName: SettingValue, Hashable, CustomStringConvertible {
  public let text: String

  public static var expectation: String { "1 to 64 letters, digits, \"_\", \".\" or \"-\"" }

  public init(setting text: String) throws(InvalidSetting) {
    guard (1...64).contains(text.utf8.count), text.allSatisfy(Self.isAllowed) else {
      throw InvalidSetting(expected: Self.expectation, came: text)
    }
    self.text = text
  }

  /// This machine's host name, shortened and with `-` for other characters. `unnamed` if the machine has none.
  public static var ofThisHost: String {
    let name = String(ProcessInfo.processInfo.hostName.map { isAllowed($0) ? $0 : "-" }.prefix(64))
    return name.isEmpty ? "unnamed" : name
  }

  private static func isAllowed(_ character: Character) -> Bool {
    character.isASCII && (character.isLetter || character.isNumber || "_.-".contains(character))
  }

  public var description: String { text }
}
