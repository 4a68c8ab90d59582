// Patterns of paths, compared with a simple, slow reference.

import HTTPFraming
import RedisFixture
import Testing

@testable import IngestNode

@Suite struct PathPatternTests {
  private static let patterns: [(PathPattern, String)] = [
    ("/a", "/a"), ("/a/*", "/a/*"), ("/*/b", "/*/b"), ("/*/*", "/*/*"), ("/a/**", "/a/**"), ("/*/a/**", "/*/a/**"),
    ("/a*/b", "/a*/b"), ("/a/*/", "/a/*/"), ("/", "/"), ("/**", "/**"),
  ]

  /// Whether a path fits, by trying every length for every star.
  private static func reference(_ pattern: Substring, _ path: Substring) -> Bool {
    if pattern == "**" { return !path.isEmpty }
    guard let first = pattern.first else { return path.isEmpty }
    guard first == "*" else { return path.first == first && reference(pattern.dropFirst(), path.dropFirst()) }
    let segment = path.prefix { $0 != "/" }
    // One segment and no part of it.
    return !segment.isEmpty && reference(pattern.dropFirst(), path.dropFirst(segment.count))
  }

  private static func matches(_ pattern: PathPattern, _ path: String) throws -> Bool {
    try withHead(of: .request("GET \(path)?/a HTTP/1.1", [])) { head, bytes in pattern.matches(head.path, in: bytes) }
  }

  @Test func `random paths fit the patterns that a slow reference says they fit`() throws {
    var generator = SeededGenerator.announced()
    var fitting = 0
    for _ in 0..<10_000 {
      let path =
        "/"
        + String(
          (0..<Int.random(in: 0...6, using: &generator)).map { _ in "//aab*%".randomElement(using: &generator)! })
      let (pattern, text) = Self.patterns.randomElement(using: &generator)!
      let expected = Self.reference(text[...], path[...])
      if expected { fitting += 1 }
      guard try Self.matches(pattern, path) == expected else {
        Issue.record("seed \(generator.seed): \(path) and \(text)")
        return
      }
    }
    #expect(fitting > 1000)
  }
}
