// The effect of a list on keys that customers use, found before anything is written. The publisher's guard uses it.
//
// It counts every key that is active in the store and would stop being admitted (listed as revoked or suspended, or, by
// `sync`, not listed); every suspended key that `sync` would revoke, because its customer could never return; and every
// key that would belong to another account: payloads filed under the wrong customer are a leak. The script decides
// whether a change may be made (see write_changes.lua); this predicts it by the same rules. If the two differ, because
// the store has changed in between, the script leaves the key alone.

public import KeyReplica

/// The keys that a list would take out of service, or give to another account.
public struct ListConsequences: Sendable, Hashable {
  public enum Kind: Int, Sendable, CaseIterable {
    case listedRevoked, listedSuspended, unlisted, suspendedUnlisted, moved
  }

  /// The options of applying a list.
  public struct Terms: Sendable, Hashable {
    /// Whether keys that aren't listed are revoked.
    public var revokesUnlisted: Bool
    /// Whether revoked keys get the list's state, and keys without a state in the list become active.
    public var reactivates: Bool
    /// The store's version when the list began: keys that were changed after it are left alone.
    public var version: UInt64?
    /// The history that the version is of; nil where there was no store, or where any is right.
    public var epoch: String?
    /// Keys that aren't touched, whatever the list says of them.
    public var untouched: Set<KeyID> = []

    public init(revokesUnlisted: Bool, reactivates: Bool = false, version: UInt64? = nil, epoch: String? = nil) {
      self.revokesUnlisted = revokesUnlisted
      self.reactivates = reactivates
      self.version = version
      self.epoch = epoch
    }
  }

  /// Keys that are active in the store.
  public var active = 0
  /// All that the list does, what takes nothing away included.
  public internal(set) var effects = ListEffects()
  private var counts = Array(repeating: 0, count: Kind.allCases.count)
  private var accounts: [[String]] = Array(repeating: [], count: Kind.allCases.count)

  public init() {}

  /// The number of keys of a kind; each key is counted once.
  public subscript(kind: Kind) -> Int { counts[kind.rawValue] }
  /// All keys that the guard counts.
  public var count: Int { counts.reduce(0, +) }
  /// Some of their present accounts.
  public func examples(of kind: Kind) -> [String] { accounts[kind.rawValue] }
  public static let exampleLimit = 5

  /// Whether this number of keys may be affected: at most this share of the active keys. 100% allows everything,
  /// including keys that aren't active.
  public func isWithin(percent: Double) -> Bool { percent >= 100 || Double(count) <= Double(active) * percent / 100 }

  /// The smallest share, in tenths of a percent, that would allow it.
  public var neededPercent: Double {
    guard active > 0 else { return 100 }
    return min(100, (1000 * Double(count) / Double(active)).rounded(.up) / 10)
  }

  mutating func note(_ record: KeyRecord, _ kind: Kind?) {
    if record.state == .active { active += 1 }
    guard let kind else { return }
    counts[kind.rawValue] += 1
    if accounts[kind.rawValue].count < Self.exampleLimit, !accounts[kind.rawValue].contains(record.account) {
      accounts[kind.rawValue].append(record.account)
    }
  }

  /// What a list does to a key that the store has; nil where it takes nothing away.
  /// - Parameters:
  ///   - entry: What the list says of it; nil if it isn't listed.
  ///   - isNewer: Whether the store changed the key since the list began.
  static func kind(of record: KeyRecord, listed entry: KeyListEntry?, isNewer: Bool, _ terms: Terms) -> Kind? {
    if isNewer { return nil }
    guard let entry else {
      switch record.state {
      case .active where terms.revokesUnlisted: return .unlisted
      case .suspended where terms.revokesUnlisted: return .suspendedUnlisted
      case .active, .suspended, .revoked: return nil
      }
    }
    if let ours = record.revision, let listed = entry.revision, listed < ours { return nil }
    if record.state == .revoked, !terms.reactivates { return nil }
    switch entry.state {
    case .revoked where record.state == .active: return .listedRevoked
    case .suspended where record.state == .active: return .listedSuspended
    default: return entry.account == record.account ? nil : .moved
    }
  }
}
