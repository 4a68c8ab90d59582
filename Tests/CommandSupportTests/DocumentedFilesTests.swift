// The documentation names files of the code. These tests find names of files that were moved or renamed.

import Foundation
import Testing

@Suite struct DocumentedFilesTests {
  private static let root = URL(fileURLWithPath: #filePath).deletingLastPathComponent().deletingLastPathComponent()
    .deletingLastPathComponent()

  private static func paths(in folder: String) throws -> [String] {
    let files = FileManager.default.enumerator(atPath: root.appendingPathComponent(folder).path)
    return try #require(files).compactMap { $0 as? String }.map { "\(folder)/\($0)" }
  }

  @Test func `each source file that the documentation names exists`() throws {
    let catalogue = "Sources/CommandSupport/Sluice.docc"
    let pages = try Self.paths(in: catalogue).filter { $0.hasSuffix(".md") } + ["CONTRIBUTING.md", "README.md"]
    let sources = try ["Sources", "Tests", "Plugins", "Benchmarks"].flatMap(Self.paths) + ["Package.swift"]
    var names = 0
    for page in pages {
      let text = try String(contentsOf: Self.root.appendingPathComponent(page), encoding: .utf8)
      for match in text.matches(of: /`([^`\s]+\.(?:swift|lua))`/) {
        names += 1
        #expect(sources.contains { "/\($0)".hasSuffix("/\(match.1)") }, "\(page) names \(match.1)")
      }
    }
    #expect(names > 50, "only \(names) names were found")
  }
}
