import Foundation
import RedisFixture
import Testing

@testable import KeyAPI

@Suite struct BearerTokensTests {
  private static let first = "first-token-of-twenty-six!"
  private static let second = "second-token-of-the-applic"

  private func file(_ text: String) throws -> (TemporaryFolder, String) {
    let folder = try TemporaryFolder()
    try Data(text.utf8).write(to: folder.url("tokens"))
    return (folder, folder.path("tokens"))
  }

  @Test func `each line is a token, and its number tells it apart`() throws {
    let (folder, path) = try file("# billing\n\(Self.first)\r\n\n\(Self.second)")
    defer { folder.remove() }
    let tokens = try BearerTokens(file: path)
    #expect(tokens.count == 2)
    #expect(tokens.line(of: Self.first) == 2 && tokens.line(of: Self.second) == 4)
    for other in ["", "# billing", String(Self.first.dropLast()), Self.first + "x", Self.first.uppercased()] {
      #expect(tokens.line(of: other) == nil, "\(other)")
    }
  }

  @Test(arguments: [
    "short\n", "a token with spaces in it, long\n", "pässword-that-is-long-enough\n", "tab\tin-a-long-enough-token\n",
  ])
  func `a line that is no token is an error that doesn't repeat it`(text: String) throws {
    let (folder, path) = try file("\(Self.first)\n\(text)")
    defer { folder.remove() }
    let error = #expect(throws: UnusableTokens.self) { try BearerTokens(file: path) }
    let words = error?.description ?? ""
    #expect(words.contains("line 2") && words.contains(path) && !words.contains(text.dropLast()), "\(words)")
  }

  @Test func `a file that isn't there, or is a folder, is an error`() throws {
    let folder = try TemporaryFolder()
    for path in [folder.path("nothing"), folder.path] {
      #expect(throws: UnusableTokens.self) { try BearerTokens(file: path) }
    }
  }

  @Test func `a change is noticed, and what can't be used changes nothing`() throws {
    let (folder, path) = try file(Self.first)
    let tokens = try BearerTokens(file: path)
    #expect(!tokens.fileHasChanged)
    try Data("short".utf8).write(to: URL(fileURLWithPath: path))
    #expect(tokens.fileHasChanged)
    #expect(throws: UnusableTokens.self) { try tokens.reload() }
    #expect(!tokens.fileHasChanged && tokens.line(of: Self.first) == 1, "it is said once")
    try Data(Self.second.utf8).write(to: URL(fileURLWithPath: path))
    #expect(try tokens.reload() == 1)
    #expect(tokens.line(of: Self.first) == nil && tokens.line(of: Self.second) == 1)
    try Data().write(to: URL(fileURLWithPath: path))
    #expect(try tokens.reload() == 0, "an empty file lets nobody in")
    #expect(tokens.line(of: Self.second) == nil)
    folder.remove()
  }
}
