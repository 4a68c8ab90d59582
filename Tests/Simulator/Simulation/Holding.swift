// A store's true record of a key, small enough to be kept for each version of each history of a run.

import KeyReplica
import SimulatedStore

/// State, account and end of a key; or nothing; or something that nobody can read.
struct Holding: Hashable, CustomStringConvertible {
  private let code: UInt8
  /// When the key ends, in seconds since 1970, by Redis's clock; nil if it doesn't.
  let expiresAt: Int64?

  static let none = Holding(code: 0)
  static let unreadable = Holding(code: 255)
  static let accounts = ["acme", "globex", "initech", "umbrella", "an intruder"]

  private init(code: UInt8) { (self.code, expiresAt) = (code, nil) }

  init(_ state: KeyState, account: String, expiresAt: Int64? = nil) {
    // Nobody in a simulation writes another one.
    let number = Self.accounts.firstIndex(of: account)!
    code = 1 + state.rawValue + 3 * UInt8(number)
    self.expiresAt = expiresAt
  }

  init(record: [UInt8]) {
    do throws(UndecodableRecord) {
      let record = try KeyRecord(decoding: record)
      self.init(record.state, account: record.account, expiresAt: record.expiresAt)
    } catch {
      self = .unreadable
    }
  }

  /// A node's entry for a key.
  init(of key: KeyID, in table: KeyTable) {
    if let found = table.find(key) {
      self.init(found.state, account: found.account, expiresAt: table.expiry(key))
    } else {
      self = .none
    }
  }

  /// Whether both are the same but for the end.
  func isLike(_ other: Holding) -> Bool { code == other.code }

  /// - Parameter time: Redis's, in microseconds since 1970.
  func hasExpired(at time: UInt64) -> Bool { expiresAt.map { UInt64($0) * 1_000_000 <= time } ?? false }

  var state: KeyState? { code == 0 || code == 255 ? nil : KeyState(rawValue: (code - 1) % 3) }
  var isActive: Bool { state == .active }
  var account: String? { state == nil ? nil : Self.accounts[Int((code - 1) / 3)] }

  var description: String {
    if self == .unreadable { return "unreadable" }
    let end = expiresAt.map { " until \($0)" } ?? ""
    return state.map { "\($0.word) for \(account ?? "")\(end)" } ?? "nothing"
  }
}

/// The keys of a run: always the same, since their number and order is all that matters.
enum SimulatedKeys {
  static let all = (0..<24).map { KeyID(secret: "key \($0)".utf8) }
  static let stranger = KeyID(secret: "nobody's".utf8)
  /// Unknown keys that clients send together, as in a flood, or as if the store lacked keys.
  static let strangers = (0..<16).map { KeyID(secret: "nobody's \($0)".utf8) }
  static let numbers = Dictionary(uniqueKeysWithValues: all.enumerated().map { ($1, $0) })

  static func name(_ key: KeyID) -> String { numbers[key].map { "key \($0)" } ?? "a stranger" }
}

/// A store's records, by the keys' numbers.
typealias Holdings = [Holding]

extension SimulatedStore {
  /// The records that are in the store now.
  func holdings() -> Holdings {
    var holdings = Array(repeating: Holding.none, count: SimulatedKeys.all.count)
    for index in 0..<bucketCount { read(bucket: index, into: &holdings) }
    return holdings
  }

  func read(bucket index: Int, into holdings: inout Holdings) {
    for (number, key) in SimulatedKeys.all.enumerated() where key.bucket(of: bucketCount) == index {
      holdings[number] = .none
    }
    for field in bucket(index).fields {
      guard let key = KeyID(bytes: field.id), let number = SimulatedKeys.numbers[key] else { continue }
      holdings[number] = Holding(record: field.record)
    }
  }
}
