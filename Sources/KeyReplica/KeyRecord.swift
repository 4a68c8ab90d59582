// What the store knows of a key, as one line of text, so that an operator with redis-cli can read it:
//
//     1 a 1763683200 acme
//
// schema, state, since when (seconds since 1970), account. The account comes last and may hold spaces. A record that isn't exactly this is
// undecodable, which is an error to be reported and never "no such key": in 2020 a push API took a record that
// it couldn't read for an absent one, and answered 401 for ninety minutes.

/// What may be done with a key.
public enum KeyState: UInt8, Sendable, CaseIterable {
  case active = 0
  case suspended = 1
  case revoked = 2

  /// The letter that stands for it in a record.
  public var letter: Character {
    switch self {
    case .active: "a"
    case .suspended: "s"
    case .revoked: "r"
    }
  }

  /// The word that operators and files use.
  public var word: String {
    switch self {
    case .active: "active"
    case .suspended: "suspended"
    case .revoked: "revoked"
    }
  }

  public init?(letter: some StringProtocol) {
    guard let state = Self.allCases.first(where: { letter == String($0.letter) }) else { return nil }
    self = state
  }

  public init?(word: some StringProtocol) {
    guard let state = Self.allCases.first(where: { $0.word == word }) else { return nil }
    self = state
  }
}

/// What the store knows of one key.
public struct KeyRecord: Sendable, Hashable {
  public var state: KeyState
  /// Since when the key has been in this state under this account: seconds since 1970.
  public var since: Int64
  /// 1 to 255 bytes of UTF-8 without control characters.
  public var account: String

  /// The schema of the line above. A store of another schema isn't read at all.
  public static let schema = 1

  public init(state: KeyState, since: Int64, account: String) {
    self.state = state
    self.since = since
    self.account = account
  }

  /// Why a text can't be an account's name, or nil if it can.
  public static func objection(toAccount account: some StringProtocol) -> String? {
    if account.isEmpty { return "the account is empty" }
    if account.utf8.count > 255 { return "the account has \(account.utf8.count) bytes, at most 255 are allowed" }
    if account.utf8.contains(where: { $0 < 0x20 || $0 == 0x7f }) { return "the account has control characters" }
    return nil
  }

  /// - Throws: ``UndecodableRecord``, which says what was expected.
  public init(decoding bytes: some Collection<UInt8>) throws(UndecodableRecord) {
    guard let text = String(validating: bytes, as: UTF8.self) else {
      throw UndecodableRecord("expected UTF-8 text, but \(bytes.count) bytes of something else came")
    }
    let parts = text.split(separator: " ", maxSplits: 3, omittingEmptySubsequences: false)
    guard parts.count == 4 else {
      throw UndecodableRecord("expected \"schema state since account\", but \(parts.count) parts came")
    }
    guard parts[0] == "\(Self.schema)" else {
      throw UndecodableRecord("expected schema \(Self.schema), but \"\(parts[0].prefix(16))\" came")
    }
    guard let state = KeyState(letter: parts[1]) else {
      throw UndecodableRecord("expected the state a, s or r, but \"\(parts[1].prefix(16))\" came")
    }
    guard let since = Int64(parts[2]), parts[2] == "\(since)" else {
      throw UndecodableRecord("expected a number of seconds, but \"\(parts[2].prefix(32))\" came")
    }
    if let objection = Self.objection(toAccount: parts[3]) { throw UndecodableRecord(objection) }
    self.init(state: state, since: since, account: String(parts[3]))
  }

  public var encoded: [UInt8] { Array("\(Self.schema) \(state.letter) \(since) \(account)".utf8) }
}

/// A record that is there but can't be read.
public struct UndecodableRecord: Error, Sendable, Equatable, CustomStringConvertible {
  public let description: String

  init(_ description: String) { self.description = "undecodable record: \(description)" }
}
