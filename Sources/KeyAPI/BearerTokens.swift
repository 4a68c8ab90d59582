// The bearer tokens of applications. They are in a file, one token a line, so that a secret manager can mount the file,
// and an operator can remove a token without a restart. Only the SHA-256 of each token stays in memory. A presented
// token is compared with all tokens, even after a match. So the time of the comparison shows neither a token's content
// nor its position.

internal import Crypto
internal import Foundation
internal import Listening
internal import Synchronization

/// A file of tokens that can't be used.
package struct UnusableTokens: Error, Equatable, CustomStringConvertible {
  package let description: String

  init(_ file: String, _ found: String) {
    description =
      "\(file): expected a bearer token on each line, \(BearerTokens.fewestBytes) to \(BearerTokens.mostBytes) printable "
      + "ASCII characters without spaces (openssl rand -hex 32 makes one), got \(found)"
  }
}

/// The tokens that are accepted.
package final class BearerTokens: Sendable {
  /// A shorter token could be guessed.
  static let fewestBytes = 20
  static let mostBytes = 512
  /// Maximum tokens. Each request's token is compared with all of them.
  static let limit = 1_000

  struct Token: Sendable {
    let digest: [UInt8]
    /// The token's line in the file, from 1. The access log names a token by its line.
    let line: Int
  }

  private struct State {
    var tokens: [Token]
    /// The file's fingerprint from before the reading, so that a change during the reading is noticed.
    var fingerprint: FileFingerprint
  }

  package let file: String
  private let state: Mutex<State>

  /// Reads the file, which blocks.
  package init(file: String) throws(UnusableTokens) {
    self.file = file
    let fingerprint = FileFingerprint(of: file)
    state = Mutex(State(tokens: try Self.read(file), fingerprint: fingerprint))
  }

  package var count: Int { state.withLock { $0.tokens.count } }

  /// Whether the file has changed since it was last read. Blocks, but is cheap.
  package var fileHasChanged: Bool { FileFingerprint(of: file) != state.withLock { $0.fingerprint } }

  /// Reads the file again, which blocks.
  /// - Throws: If the file can't be used; the old tokens stay in use.
  /// - Returns: The number of tokens. With 0 every request is rejected.
  package func reload() throws(UnusableTokens) -> Int {
    let fingerprint = FileFingerprint(of: file)
    state.withLock { $0.fingerprint = fingerprint }
    let tokens = try Self.read(file)
    state.withLock { $0.tokens = tokens }
    return tokens.count
  }

  /// The line of a presented token; nil if the token isn't in the file.
  func line(of presented: some StringProtocol) -> Int? {
    let digest = Self.digest(presented)
    var found: Int?
    for token in state.withLock({ $0.tokens }) {
      var difference: UInt8 = 0
      for (left, right) in zip(token.digest, digest) { difference |= left ^ right }
      if difference == 0 { found = token.line }
    }
    return found
  }

  private static func digest(_ token: some StringProtocol) -> [UInt8] { Array(SHA256.hash(data: Array(token.utf8))) }

  /// Parses the file's content. Empty lines, and lines that begin with #, are ignored.
  static func parse(_ bytes: [UInt8], _ file: String) throws(UnusableTokens) -> [Token] {
    var tokens: [Token] = []
    let lines = bytes.split(separator: UInt8(ascii: "\n"), omittingEmptySubsequences: false)
    for (index, line) in lines.enumerated() {
      var line = line
      if line.last == UInt8(ascii: "\r") { line.removeLast() }
      if line.isEmpty || line.first == UInt8(ascii: "#") { continue }
      guard (fewestBytes...mostBytes).contains(line.count) else {
        throw UnusableTokens(file, "\(line.count) bytes on line \(index + 1)")
      }
      guard line.allSatisfy({ $0 > 0x20 && $0 < 0x7f }) else {
        throw UnusableTokens(file, "a space, a control character or one outside of ASCII on line \(index + 1)")
      }
      guard tokens.count < limit else { throw UnusableTokens(file, "more than \(limit) lines") }
      tokens.append(Token(digest: digest(String(decoding: line, as: UTF8.self)), line: index + 1))
    }
    return tokens
  }

  private static func read(_ file: String) throws(UnusableTokens) -> [Token] {
    let bytes: [UInt8]
    do throws(ReloadedFile.Unreadable) {
      bytes = try ReloadedFile.read(file)
    } catch {
      throw UnusableTokens(file, error.found)
    }
    return try parse(bytes, file)
  }

  /// Whether users other than the file's owner can read the file.
  package var isReadableByOthers: Bool {
    do {
      let permissions = try FileManager.default.attributesOfItem(atPath: file)[.posixPermissions] as? NSNumber
      return (permissions?.intValue ?? 0) & 0o044 != 0
    } catch {
      // A file that can't be looked at can't be read by this process either, which the caller reports.
      return false
    }
  }
}
