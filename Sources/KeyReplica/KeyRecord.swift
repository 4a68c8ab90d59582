// The record of a key, as one line of text, so that an operator with redis-cli can read it:
//
//     1 a 1763683200/10003 acme
//     1 s 1763683200/10004/17 acme
//     2 a 1763683200/10005 1795219200 acme
//
// The parts are: schema; state; time of the last change (seconds since 1970), the store's version of that change, the
// source's revision if the source gave one; in schema 2 the time at which the key ends (seconds since 1970); account.
// With the two numbers the script can tell an outdated change from a new one, in the same step in which it writes. A
// record without these numbers is also valid. The account is last and may contain spaces. A record that doesn't have
// exactly this form is undecodable. That is an error to report, never "no such key": in 2020 a push API treated an
// unreadable record as absent, and answered 401 for ninety minutes.
//
// A record with an expiry has another schema, because a build without key expiry must not read such a record as one
// without. Such a node refuses nobody, and such a publisher writes nothing: with the first record of schema 2, the
// store has schema 2 as well.

/// The state of a key.
public enum KeyState: UInt8, Sendable, CaseIterable {
  case active = 0
  case suspended = 1
  case revoked = 2

  /// The state's letter in a record.
  public var letter: Character {
    switch self {
    case .active: "a"
    case .suspended: "s"
    case .revoked: "r"
    }
  }

  /// The word in commands and files.
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

/// The record of one key.
public struct KeyRecord: Sendable, Hashable {
  public var state: KeyState
  /// The time since which the key has been in this state under this account: seconds since 1970.
  public var since: Int64
  /// The store's version of the record's last change; nil if it isn't in the record.
  public var version: UInt64?
  /// The source's own number of its last change of this key; nil if the source gave none.
  public var revision: UInt64?
  /// When the key ends, by Redis's clock: seconds since 1970. From then on it is refused. Nil if it doesn't end.
  public var expiresAt: Int64?
  /// 1 to 255 bytes of UTF-8 without control characters.
  public var account: String

  /// The schema of the line of a record without an expiry, and of a store that has only such records.
  public static let schema = 1
  /// The schema of the line of a record with an expiry, and of a store that has had such records.
  public static let schemaWithExpiry = 2
  /// A store with another schema isn't read at all.
  public static let schemas = schema...schemaWithExpiry

  /// The latest end of a key: the last second of the year 9999. A larger number is a time in milliseconds.
  public static let expiryLimit: Int64 = 253_402_300_799

  /// The largest revision: numbers in Redis's Lua are doubles, which are exact up to this value.
  public static let revisionLimit: UInt64 = (1 << 53) - 1

  public init(
    state: KeyState, since: Int64, version: UInt64? = nil, revision: UInt64? = nil, expiresAt: Int64? = nil,
    account: String
  ) {
    self.state = state
    self.since = since
    self.version = version
    self.revision = revision
    self.expiresAt = expiresAt
    self.account = account
  }

  /// Whether the key has ended by itself.
  /// - Parameter moment: Redis's time, in seconds since 1970.
  public func hasExpired(at moment: Int64) -> Bool { expiresAt.map { $0 <= moment } ?? false }

  /// Why a text can't be an account's name, or nil if it can.
  public static func objection(toAccount account: some StringProtocol) -> String? {
    objection(toAccountInUTF8: account.utf8)
  }

  private static func objection(toAccountInUTF8 account: some Collection<UInt8>) -> String? {
    if account.isEmpty { return "the account is empty" }
    if account.count > 255 { return "the account has \(account.count) bytes, at most 255 are allowed" }
    if account.contains(where: { $0 < 0x20 || $0 == 0x7f }) { return "the account has control characters" }
    return nil
  }

  /// - Throws: ``UndecodableRecord``, with the expected form.
  public init(decoding bytes: some Collection<UInt8>) throws(UndecodableRecord) {
    let record = bytes.withContiguousStorageIfAvailable { Self.decode(UnsafeRawBufferPointer($0)) }
    self = try (record ?? Array(bytes).withUnsafeBytes { Self.decode($0) }).get()
  }

  private static func decode(_ line: UnsafeRawBufferPointer) -> Result<KeyRecord, UndecodableRecord> {
    do throws(UndecodableRecord) {
      let parts = try Parts(of: line)
      let account = String(decoding: parts.account, as: UTF8.self)
      return .success(
        KeyRecord(
          state: parts.state, since: parts.since, version: parts.version, revision: parts.revision,
          expiresAt: parts.expiresAt, account: account))
    } catch {
      return .failure(error)
    }
  }

  /// The parts of a record. The account points into the line, so the parts must not outlive it. A node reads a million
  /// records before it is ready, so strings are made only if they are kept.
  struct Parts {
    let state: KeyState
    let since: Int64
    let version: UInt64?
    let revision: UInt64?
    let expiresAt: Int64?
    /// UTF-8 that is valid as an account's name.
    let account: UnsafeRawBufferPointer

    init(of line: UnsafeRawBufferPointer) throws(UndecodableRecord) {
      var begin = 0
      func word() -> UnsafeRawBufferPointer? {
        var end = begin
        while end < line.count, line[end] != UInt8(ascii: " ") { end += 1 }
        guard end < line.count else { return nil }
        defer { begin = end + 1 }
        return UnsafeRawBufferPointer(rebasing: line[begin..<end])
      }
      func shown(_ word: UnsafeRawBufferPointer) -> String { String(decoding: word.prefix(32), as: UTF8.self) }
      guard let schema = word(), let letter = word(), let since = word() else {
        let parts = line.count { $0 == UInt8(ascii: " ") } + 1
        throw UndecodableRecord("expected \"schema state since account\", got \(parts) parts")
      }
      let hasExpiry = Self.number(schema) == Int64(KeyRecord.schemaWithExpiry)
      guard hasExpiry || Self.number(schema) == Int64(KeyRecord.schema) else {
        throw UndecodableRecord(
          "expected schema \(KeyRecord.schema) or \(KeyRecord.schemaWithExpiry), got \"\(shown(schema))\"")
      }
      switch (letter.count, letter.first) {
      case (1, UInt8(ascii: "a")): state = .active
      case (1, UInt8(ascii: "s")): state = .suspended
      case (1, UInt8(ascii: "r")): state = .revoked
      default: throw UndecodableRecord("expected the state a, s or r, got \"\(shown(letter))\"")
      }
      let secondsEnd = Self.slash(in: since, from: 0)
      guard let seconds = Self.number(UnsafeRawBufferPointer(rebasing: since[..<secondsEnd])) else {
        throw UndecodableRecord("expected a number of seconds, got \"\(shown(since))\"")
      }
      self.since = seconds
      if secondsEnd == since.count {
        (version, revision) = (nil, nil)
      } else {
        let versionEnd = Self.slash(in: since, from: secondsEnd + 1)
        func counter(_ digits: Range<Int>) throws(UndecodableRecord) -> UInt64 {
          guard let number = Self.number(UnsafeRawBufferPointer(rebasing: since[digits])), number >= 0 else {
            throw UndecodableRecord("expected seconds/version or seconds/version/revision, got \"\(shown(since))\"")
          }
          return UInt64(number)
        }
        version = try counter(secondsEnd + 1..<versionEnd)
        revision = versionEnd == since.count ? nil : try counter(versionEnd + 1..<since.count)
      }
      if hasExpiry {
        guard let moment = word() else { throw UndecodableRecord("expected the key's expiry, and then an account") }
        guard let seconds = Self.number(moment), (0...KeyRecord.expiryLimit).contains(seconds) else {
          throw UndecodableRecord(
            "expected the key's expiry in seconds, from 0 to \(KeyRecord.expiryLimit), got \"\(shown(moment))\"")
        }
        expiresAt = seconds
      } else {
        expiresAt = nil
      }
      account = UnsafeRawBufferPointer(rebasing: line[begin...])
      if let objection = KeyRecord.objection(toAccountInUTF8: account) { throw UndecodableRecord(objection) }
      if account.contains(where: { $0 >= 0x80 }), String(validating: account, as: UTF8.self) == nil {
        throw UndecodableRecord("expected an account in UTF-8, got \(account.count) bytes that aren't UTF-8")
      }
    }

    /// The index of the next slash, or the end.
    private static func slash(in word: UnsafeRawBufferPointer, from start: Int) -> Int {
      var end = start
      while end < word.count, word[end] != UInt8(ascii: "/") { end += 1 }
      return end
    }

    /// Nil unless the number has its shortest form: no sign except a minus, no leading zeros.
    private static func number(_ digits: UnsafeRawBufferPointer) -> Int64? {
      let first = digits.first == UInt8(ascii: "-") ? 1 : 0
      guard first < digits.count, digits[first] != UInt8(ascii: "0") || digits.count == 1 else { return nil }
      var number: Int64 = 0
      for byte in digits[first...] {
        guard (UInt8(ascii: "0")...UInt8(ascii: "9")).contains(byte) else { return nil }
        let digit = Int64(byte - UInt8(ascii: "0"))
        let (tenfold, isTooLong) = number.multipliedReportingOverflow(by: 10)
        let (sum, isTooLarge) =
          first == 1 ? tenfold.subtractingReportingOverflow(digit) : tenfold.addingReportingOverflow(digit)
        guard !isTooLong, !isTooLarge else { return nil }
        number = sum
      }
      return number
    }
  }

  public var encoded: [UInt8] {
    var numbers = "\(since)"
    if let version {
      numbers += "/\(version)"
      if let revision { numbers += "/\(revision)" }
    }
    guard let expiresAt else { return Array("\(Self.schema) \(state.letter) \(numbers) \(account)".utf8) }
    return Array("\(Self.schemaWithExpiry) \(state.letter) \(numbers) \(expiresAt) \(account)".utf8)
  }
}

/// A record that exists but can't be decoded.
public struct UndecodableRecord: Error, Sendable, Equatable, CustomStringConvertible {
  public let description: String

  init(_ description: String) { self.description = "undecodable record: \(description)" }
}
