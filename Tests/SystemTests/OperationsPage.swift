// The configuration that the documentation tells operators to use, as the tests use it.

import Foundation
import RedisFixture

enum OperationsPage {
  /// A file of this repository.
  static func file(_ path: String) throws -> String {
    try String(contentsOfFile: self.path(path), encoding: .utf8)
  }

  /// Where a file of this repository is.
  static func path(_ path: String) -> String {
    let folder = URL(fileURLWithPath: #filePath).deletingLastPathComponent()
    return folder.deletingLastPathComponent().deletingLastPathComponent().appendingPathComponent(path).path
  }

  /// The only example in a language on the pages for operators, or on one of them.
  /// - Parameters:
  ///   - page: The page's file; nil for all pages.
  ///   - change: Returns the line to use instead of a line of the example, or nil to leave it out.
  static func example(
    _ language: String, on page: String? = nil, _ change: (String) -> String? = { $0 }
  ) throws -> String {
    let folder = "Sources/CommandSupport/Sluice.docc/Operations"
    let pages =
      try page.map { [$0] }
      ?? FileManager.default.contentsOfDirectory(atPath: path(folder)).filter { $0.hasSuffix(".md") }
    let begun = try pages.flatMap { page in
      try file("\(folder)/\(page)").components(separatedBy: "\n```\(language)\n").dropFirst()
    }
    guard begun.count == 1, let example = begun.first?.components(separatedBy: "\n```\n").first else {
      throw NeverHappened(description: "\(folder) has \(begun.count) examples of \(language) instead of one")
    }
    return example.components(separatedBy: "\n").compactMap(change).joined(separator: "\n")
  }
}
