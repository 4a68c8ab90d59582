// What a store truly holds of a key, small enough to be kept for every version of every history of a run.

import KeyReplica
import SimulatedStore

/// State and account of a key; or nothing; or something that nobody can read.
struct Holding: Hashable, CustomStringConvertible {
  private let code: UInt8

  static let none = Holding(code: 0)
  static let unreadable = Holding(code: 255)
  static let accounts = ["acme", "globex", "initech", "umbrella", "an intruder"]

  private init(code: UInt8) { self.code = code }

  init(_ state: KeyState, account: String) {
    // Nobody in a simulation writes another one.
    let number = Self.accounts.firstIndex(of: account)!
    code = 1 + state.rawValue + 3 * UInt8(number)
  }

  init(record: [UInt8]) {
    do throws(UndecodableRecord) {
      let record = try KeyRecord(decoding: record)
      self.init(record.state, account: record.account)
    } catch {
      self = .unreadable
    }
  }

  /// What a node's table holds of a key.
  init(_ found: (state: KeyState, account: String)?) {
    if let found { self.init(found.state, account: found.account) } else { self = .none }
  }

  var state: KeyState? { code == 0 || code == 255 ? nil : KeyState(rawValue: (code - 1) % 3) }
  var isActive: Bool { state == .active }
  var account: String? { state == nil ? nil : Self.accounts[Int((code - 1) / 3)] }

  var description: String {
    if self == .unreadable { return "unreadable" }
    return state.map { "\($0.word) for \(account ?? "")" } ?? "nothing"
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

/// What a store holds, by the keys' numbers.
typealias Holdings = [Holding]

extension SimulatedStore {
  /// What the records say that stand in the store now.
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
