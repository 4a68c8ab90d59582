// The pages of decisions refer to each other by number, to tests by name, and the index lists them. These tests find a number that is missing
// or used twice, a page that isn't listed, and a test that was renamed or removed.

import Foundation
import Testing

@Suite struct DecisionPagesTests {
  private static let root = URL(fileURLWithPath: #filePath).deletingLastPathComponent().deletingLastPathComponent()
    .deletingLastPathComponent()
  private static let catalogue = root.appendingPathComponent("Sources/CommandSupport/Sluice.docc")

  /// The pages in the order of their numbers: name without extension, and text.
  private static func pages() throws -> [(name: String, text: String)] {
    let folder = catalogue.appendingPathComponent("Decisions")
    return try FileManager.default.contentsOfDirectory(at: folder, includingPropertiesForKeys: nil)
      .filter { $0.pathExtension == "md" }
      .sorted { $0.lastPathComponent < $1.lastPathComponent }
      .map { ($0.deletingPathExtension().lastPathComponent, try String(contentsOf: $0, encoding: .utf8)) }
  }

  @Test func `decisions are numbered one after the other, in their file names and titles`() throws {
    let pages = try Self.pages()
    #expect(pages.count >= 80)
    for (index, page) in pages.enumerated() {
      let number = index + 1
      let digits = String(repeating: "0", count: 3 - String(number).count) + String(number)
      #expect(page.name.hasPrefix("\(digits)-"), "expected decision \(number), got \(page.name)")
      #expect(page.text.hasPrefix("# \(number). "), "\(page.name) has another number in its title")
    }
  }

  @Test func `each decision has a status with a date, a problem, a decision, alternatives and tests`() throws {
    for page in try Self.pages() {
      let paragraphs = page.text.components(separatedBy: "\n\n")
      #expect(try paragraphs[1].firstMatch(of: Regex("^Accepted \\d{4}-\\d{2}-\\d{2}[,;.]")) != nil, "\(page.name)")
      for heading in ["### Problem", "### Decision", "### Alternatives", "### Tested in"] {
        #expect(paragraphs.contains(heading), "\(page.name) has no \(heading)")
      }
    }
  }

  @Test func `the index lists each decision once`() throws {
    let index = try String(contentsOf: Self.catalogue.appendingPathComponent("Decisions.md"), encoding: .utf8)
    let listed = index.matches(of: /- <doc:(\d{3}-[^>]+)>/).map { String($0.1) }
    #expect(listed.sorted() == (try Self.pages().map(\.name)))
  }

  @Test func `each test and script that a decision names exists`() throws {
    for page in try Self.pages() {
      let named = page.text.components(separatedBy: "### Tested in\n").last?.matches(of: /`([^`]+)`/) ?? []
      #expect(!named.isEmpty, "\(page.name) names no test")
      for name in named.map({ String($0.1) }) {
        let path = name.hasPrefix("Scripts/") ? name : "Tests/\(name).swift"
        let exists = FileManager.default.fileExists(atPath: Self.root.appendingPathComponent(path).path)
        #expect(exists, "\(page.name) names \(path), which doesn't exist")
      }
    }
  }
}
