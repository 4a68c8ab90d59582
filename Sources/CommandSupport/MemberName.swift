// What a node or a worker is called. Narrow, because the name becomes part of Redis fields, of log lines, of metric labels
// and of tables.

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

  /// This machine's host name, as far as it fits: other characters become `-`. `unnamed` where the machine has none.
  public static var ofThisHost: String {
    let name = String(ProcessInfo.processInfo.hostName.map { isAllowed($0) ? $0 : "-" }.prefix(64))
    return name.isEmpty ? "unnamed" : name
  }

  private static func isAllowed(_ character: Character) -> Bool {
    character.isASCII && (character.isLetter || character.isNumber || "_.-".contains(character))
  }

  public var description: String { text }
}
