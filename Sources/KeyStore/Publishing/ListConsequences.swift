// The effect of a list on keys in use. It is calculated for the publisher's guard before anything is written.
//
// It counts every active key in the store that would no longer be admitted: keys that are listed as revoked or
// suspended, and with `sync` keys that aren't listed. It counts every suspended key that `sync` would revoke, because
// it could then never become active again. It counts every active key that would expire at once, as the list says
// that its expiry has come. And it counts every key that would belong to another account: payloads stored for the wrong
// customer are a leak. The script decides whether a change may be made (see write_changes.lua);
// this code predicts the decision by the same rules. If the two differ, because the store has changed in between, the
// script leaves the key unchanged.

public import KeyReplica

/// The keys that a list would revoke, suspend or give to another account.
public struct ListConsequences: Sendable, Hashable {
  public enum Kind: Int, Sendable, CaseIterable {
    case listedRevoked, listedSuspended, unlisted, suspendedUnlisted, moved, listedExpired
  }

  /// The options of applying a list.
  public struct Terms: Sendable, Hashable {
    /// Whether keys that aren't listed are revoked.
    public var revokesUnlisted: Bool
    /// Whether revoked keys get the list's state, and keys without a state in the list become active.
    public var reactivates: Bool
    /// The store's version when the list was begun. Keys that the store changed after it are left unchanged.
    public var version: UInt64?
    /// The history of that version; nil if there was no store, or if any history is accepted.
    public var epoch: String?
    /// Keys that are left unchanged, even if the list has other values for them or doesn't list them.
    public var untouched: Set<KeyID> = []

    public init(revokesUnlisted: Bool, reactivates: Bool = false, version: UInt64? = nil, epoch: String? = nil) {
      self.revokesUnlisted = revokesUnlisted
      self.reactivates = reactivates
      self.version = version
      self.epoch = epoch
    }
  }

  /// Keys that are active in the store and haven't ended.
  public var active = 0
  /// Redis's time, in seconds since 1970.
  var now: Int64 = 0
  /// All effects of the list, including those that the guard doesn't count.
  public internal(set) var effects = ListEffects()
  private var counts = Array(repeating: 0, count: Kind.allCases.count)
  private var accounts: [[String]] = Array(repeating: [], count: Kind.allCases.count)

  public init() {}

  /// The number of keys of one kind. Each key is counted once.
  public subscript(kind: Kind) -> Int { counts[kind.rawValue] }
  /// The number of all keys that the guard counts.
  public var count: Int { counts.reduce(0, +) }
  /// Some of the accounts that now have these keys.
  public func examples(of kind: Kind) -> [String] { accounts[kind.rawValue] }
  public static let exampleLimit = 5

  /// Whether the guard allows this number of keys: at most this share of the active keys. 100% allows everything,
  /// including changes of keys that aren't active.
  public func isWithin(percent: Double) -> Bool { percent >= 100 || Double(count) <= Double(active) * percent / 100 }

  /// The smallest share, in tenths of a percent, that would allow these keys.
  public var neededPercent: Double {
    guard active > 0 else { return 100 }
    return min(100, (1000 * Double(count) / Double(active)).rounded(.up) / 10)
  }

  mutating func note(_ record: KeyRecord, _ kind: Kind?) {
    if record.state == .active, !record.hasExpired(at: now) { active += 1 }
    guard let kind else { return }
    counts[kind.rawValue] += 1
    if accounts[kind.rawValue].count < Self.exampleLimit, !accounts[kind.rawValue].contains(record.account) {
      accounts[kind.rawValue].append(record.account)
    }
  }

  /// How a list would affect a key of the store; nil if the guard doesn't count it.
  /// - Parameters:
  ///   - entry: The key's entry in the list; nil if it isn't listed.
  ///   - isNewer: Whether the store changed the key after the list was begun.
  ///   - now: Redis's time, in seconds since 1970.
  static func kind(
    of record: KeyRecord, listed entry: KeyListEntry?, isNewer: Bool, at now: Int64, _ terms: Terms
  ) -> Kind? {
    if isNewer { return nil }
    // A key that has ended by itself isn't lost.
    let isInUse = record.state == .active && !record.hasExpired(at: now)
    guard let entry else {
      switch record.state {
      case .active where terms.revokesUnlisted: return isInUse ? .unlisted : nil
      case .suspended where terms.revokesUnlisted: return .suspendedUnlisted
      case .active, .suspended, .revoked: return nil
      }
    }
    if let ours = record.revision, let listed = entry.revision, listed < ours { return nil }
    if record.state == .revoked, !terms.reactivates { return nil }
    switch entry.state {
    case .revoked where isInUse: return .listedRevoked
    case .suspended where isInUse: return .listedSuspended
    default:
      if entry.account != record.account { return .moved }
      let expiresAt = entry.expiry.applied(to: record.expiresAt)
      return ends(record, becoming: entry.state ?? record.state, expiresAt, at: now) ? .listedExpired : nil
    }
  }

  /// Whether a key that is in use stays active, but its new end has come already.
  static func ends(_ record: KeyRecord, becoming state: KeyState, _ expiresAt: Int64?, at now: Int64) -> Bool {
    record.state == .active && !record.hasExpired(at: now) && state == .active && expiresAt.map { $0 <= now } ?? false
  }
}
