public import Logging

extension Logger {
  /// For tests that provoke what would be logged.
  public static let silent = Logger(label: "silent") { _ in SwiftLogNoOpLogHandler() }
}
