// SECURITY.md names the test for each of its claims. These tests find names of tests that were renamed or removed.

import Foundation
import Testing

@Suite struct SecurityPageTests {
  private static let root = URL(fileURLWithPath: #filePath).deletingLastPathComponent().deletingLastPathComponent()
    .deletingLastPathComponent()

  /// The tests that SECURITY.md names: in the last column of its tables, in backticks.
  private static func namedTests() throws -> [String] {
    let page = try String(contentsOf: root.appendingPathComponent("SECURITY.md"), encoding: .utf8)
    return page.split(separator: "\n").filter { $0.hasPrefix("| ") && !$0.hasPrefix("| ---") }
      .compactMap { $0.split(separator: "|").last }
      .flatMap { $0.matches(of: /`([^`]+)`/).map { String($0.1) } }
  }

  @Test func `each test that SECURITY names exists`() throws {
    let named = try Self.namedTests()
    #expect(named.count > 20, "its tables weren't found")
    let tests = Self.root.appendingPathComponent("Tests")
    let files = try #require(FileManager.default.enumerator(at: tests, includingPropertiesForKeys: nil))
    var all = ""
    for case let file as URL in files where file.pathExtension == "swift" {
      all += try String(contentsOf: file, encoding: .utf8)
    }
    // Scenarios are tests that Redis and the simulated store both pass.
    let missing = named.filter { !all.contains("func `\($0)`") && !all.contains("StoreScenario(\"\($0)\")") }
    #expect(missing.isEmpty, "tests of these names don't exist")
  }
}
