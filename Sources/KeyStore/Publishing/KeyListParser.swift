// Parses the lines of a key list. A list is exported from a customer's database. So errors have a line number and a
// text, but never a secret.

import Foundation
public import KeyReplica

/// One line of a key list.
public struct KeyListEntry: Sendable, Hashable {
  public var key: KeyID
  /// Nil if the line has none: then a known key keeps its state.
  public var state: KeyState?
  public var account: String
  /// The source's revision of this key.
  public var revision: UInt64?
  /// When the key ends. A list without this column changes no expiry.
  public var expiry: ExpiryChange
  /// From 1.
  public var line: Int

  public init(
    key: KeyID, state: KeyState?, account: String, revision: UInt64? = nil, expiry: ExpiryChange = .keep, line: Int
  ) {
    self.key = key
    self.state = state
    self.account = account
    self.revision = revision
    self.expiry = expiry
    self.line = line
  }
}

/// An invalid line.
public struct KeyListProblem: Error, Sendable, Hashable, CustomStringConvertible {
  /// From 1; 0 for the list as a whole.
  public var line: Int
  public var reason: String

  public var description: String { line == 0 ? reason : "line \(line): \(reason)" }
}

/// Reads CSV with a header line, or one JSON object per line. The first line decides which.
///
/// Columns, or members: `key` (a secret, hashed at once) or `key_id` (64 hexadecimal digits), `account`, and optionally
/// `state` (`active`, `suspended` or `revoked`), `revision` (a number that grows with each change of the key at its
/// source) and `expires_at` (when the key ends; empty or null for a key that doesn't end).
public struct KeyListParser: Sendable {
  private enum Format {
    case csv(key: Int?, id: Int?, account: Int, state: Int?, revision: Int?, expiry: Int?, columns: Int)
    case jsonLines
  }

  private static let columns = ["key", "key_id", "account", "state", "revision", "expires_at"]

  private var format: Format?
  private var line = 0
  /// Whether the format is known from the lines so far.
  var knowsFormat: Bool { format != nil }
  private let decoder = JSONDecoder()

  public init() {}

  /// Maximum length of a secret: a request with a longer one in a header would be rejected.
  public static let secretLimit = 512

  /// Parses the next line, without its end.
  /// - Returns: The entry; nil for a header or an empty line.
  public mutating func parse(_ bytes: some Collection<UInt8>) throws(KeyListProblem) -> KeyListEntry? {
    line += 1
    guard var text = String(validating: bytes, as: UTF8.self) else { throw problem("expected UTF-8 text") }
    if text.hasSuffix("\r") { text.removeLast() }
    if line == 1, text.hasPrefix("\u{feff}") { text.removeFirst() }
    if text.allSatisfy(\.isWhitespace) { return nil }
    guard let format else {
      if text.first == "{" {
        format = .jsonLines
        return try entry(fromJSON: text)
      }
      format = try header(text)
      return nil
    }
    switch format {
    case .jsonLines: return try entry(fromJSON: text)
    case .csv(let key, let id, let account, let state, let revision, let expiry, let columns):
      let fields = try split(text, atMost: columns)
      guard fields.count == columns else {
        let got = fields.count > columns ? "more" : "\(fields.count)"
        throw problem("expected \(columns) columns as in the header, got \(got)")
      }
      return try entry(
        key: key.map { fields[$0] }, id: id.map { fields[$0] }, account: fields[account],
        state: state.map { fields[$0] }, revision: revision.map { fields[$0] }, expiry: expiry.map { fields[$0] })
    }
  }

  private func problem(_ reason: String) -> KeyListProblem { KeyListProblem(line: line, reason: reason) }

  private func header(_ text: String) throws(KeyListProblem) -> Format {
    let names = try split(text, atMost: Self.columns.count)
    // If the header is missing, its text may be a secret, so the message doesn't repeat it.
    guard names.allSatisfy({ Self.columns.contains($0) }), Set(names).count == names.count else {
      throw problem(
        "expected a header line naming the columns key or key_id, account and optionally state, revision and "
          + "expires_at")
    }
    let key = names.firstIndex(of: "key")
    let id = names.firstIndex(of: "key_id")
    guard (key == nil) != (id == nil) else { throw problem("expected either a column key or a column key_id") }
    guard let account = names.firstIndex(of: "account") else { throw problem("expected a column account") }
    return .csv(
      key: key, id: id, account: account, state: names.firstIndex(of: "state"),
      revision: names.firstIndex(of: "revision"), expiry: names.firstIndex(of: "expires_at"), columns: names.count)
  }

  private func entry(fromJSON text: String) throws(KeyListProblem) -> KeyListEntry {
    let members: [String: Member]
    do {
      members = try decoder.decode([String: Member].self, from: Data(text.utf8))
    } catch {
      // The decoder's own message quotes its input, which may be a secret.
      throw problem(
        "expected a JSON object with key or key_id, account and optionally state, revision and expires_at")
    }
    // A misspelt `state` would make a suspended key active.
    guard members.keys.allSatisfy({ Self.columns.contains($0) }) else {
      throw problem("expected only the members key or key_id, account, state, revision and expires_at")
    }
    guard members.allSatisfy({ !$0.value.isNumber || ["revision", "expires_at"].contains($0.key) }) else {
      throw problem("expected strings for key, key_id, account and state")
    }
    func member(_ name: String) -> String? { members[name]?.text }
    guard (member("key") == nil) != (member("key_id") == nil) else { throw problem("expected either key or key_id") }
    guard let account = member("account") else { throw problem("expected an account") }
    return try entry(
      key: member("key"), id: member("key_id"), account: account, state: member("state"),
      revision: member("revision"),
      // A null removes the expiry; without the member the expiry stays.
      expiry: members["expires_at"].map { $0.text ?? "" })
  }

  /// A string, a number, or null.
  private struct Member: Decodable {
    var text: String?
    var isNumber = false

    init(from decoder: any Decoder) throws {
      let container = try decoder.singleValueContainer()
      if container.decodeNil() { return }
      do {
        text = try container.decode(String.self)
      } catch {
        text = "\(try container.decode(UInt64.self))"
        isNumber = true
      }
    }
  }

  private func entry(
    key: String?, id: String?, account: String, state: String?, revision: String?, expiry: String?
  ) throws(KeyListProblem) -> KeyListEntry {
    let keyID: KeyID
    if let key {
      if let objection = Self.objection(toSecret: key) { throw problem(objection) }
      keyID = KeyID(secret: key.utf8)
    } else {
      guard let parsed = KeyID(hex: id ?? "") else {
        throw problem("expected a key_id of 64 hexadecimal digits, got \((id ?? "").utf8.count) bytes")
      }
      keyID = parsed
    }
    if let objection = KeyRecord.objection(toAccount: account) { throw problem(objection) }
    var parsedState: KeyState?
    if let state, !state.isEmpty {
      guard let known = KeyState(word: state) else {
        // The text isn't repeated: if columns were mixed up it is a secret.
        throw problem(
          "expected the state active, suspended or revoked, got another value (\(state.utf8.count) bytes, not shown)")
      }
      parsedState = known
    }
    var parsedRevision: UInt64?
    if let revision, !revision.isEmpty {
      guard revision.utf8.allSatisfy({ (48...57).contains($0) }), let number = UInt64(revision),
        number <= KeyRecord.revisionLimit
      else {
        throw problem(
          "expected a revision from 0 to \(KeyRecord.revisionLimit), got another value (\(revision.utf8.count) bytes, not shown)"
        )
      }
      parsedRevision = number
    }
    var change = ExpiryChange.keep
    if let expiry {
      guard let parsed = ExpiryChange(field: expiry) else {
        // The text isn't repeated: if columns were mixed up it is a secret.
        throw problem(
          "expected expires_at as \(ExpiryChange.expectation), got another value (\(expiry.utf8.count) bytes, not shown)"
        )
      }
      change = parsed
    }
    return KeyListEntry(
      key: keyID, state: parsedState, account: account, revision: parsedRevision, expiry: change, line: line)
  }

  /// Why a text can't be a key, or nil if it can: it must be valid in a header.
  public static func objection(toSecret secret: some StringProtocol) -> String? {
    if secret.isEmpty { return "the key is empty" }
    if secret.utf8.count > secretLimit {
      return "the key has \(secret.utf8.count) bytes, at most \(secretLimit) are allowed"
    }
    if secret.utf8.contains(where: { $0 <= 0x20 || $0 >= 0x7f }) {
      return "the key has spaces, control characters or characters outside ASCII, so no request could carry it"
    }
    return nil
  }

  /// Splits a line of CSV. A field may be in double quotes, with each double quote in it doubled. It works on bytes,
  /// because in a Character a quote and a following accent are one. It returns one field more than the limit if there
  /// are too many, so that the caller notices that.
  private func split(_ text: String, atMost limit: Int) throws(KeyListProblem) -> [String] {
    let (quote, comma) = (UInt8(ascii: "\""), UInt8(ascii: ","))
    var fields: [String] = []
    var rest = Array(text.utf8)[...]
    while true {
      var field: [UInt8] = []
      if rest.first == quote {
        rest.removeFirst()
        while true {
          guard let end = rest.firstIndex(of: quote) else {
            throw problem("expected a closing double quote on the same line")
          }
          field += rest[..<end]
          rest = rest[(end + 1)...]
          guard rest.first == quote else { break }
          field.append(quote)
          rest.removeFirst()
        }
        guard rest.isEmpty || rest.first == comma else {
          throw problem("expected a comma after the closing double quote")
        }
      } else {
        let end = rest.firstIndex(of: comma) ?? rest.endIndex
        field += rest[..<end]
        rest = rest[end...]
        if field.contains(quote) { throw problem("expected a field with a double quote to be in double quotes") }
      }
      fields.append(String(decoding: field, as: UTF8.self))
      if rest.isEmpty || fields.count > limit { return fields }
      rest.removeFirst()
    }
  }
}
