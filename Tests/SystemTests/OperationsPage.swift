// What the documentation tells operators to write into files of theirs, as the tests use it.

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

  /// The page's one example in a language.
  /// - Parameter change: What takes a line's place; nil leaves it out.
  static func example(_ language: String, _ change: (String) -> String? = { $0 }) throws -> String {
    let page = try file("Sources/CommandSupport/Sluice.docc/Operations.md")
    let begun = page.components(separatedBy: "\n```\(language)\n").dropFirst()
    guard begun.count == 1, let example = begun.first?.components(separatedBy: "\n```\n").first else {
      throw NeverHappened(description: "Operations has \(begun.count) examples of \(language) instead of one")
    }
    return example.components(separatedBy: "\n").compactMap(change).joined(separator: "\n")
  }
}
