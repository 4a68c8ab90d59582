// The effects of a list on each key, to show them before the list is applied. The script decides whether a change is
// made (write_changes.lua); this code predicts it by the same rules, in the same order.

public import KeyReplica

/// How many keys a list adds, changes and leaves unchanged, with examples.
public struct ListEffects: Sendable, Hashable {
  public enum Kind: Int, Sendable, CaseIterable {
    case added, activated, suspended, revoked, moved
    /// The key's new end has come already.
    case expired
    /// The key's expiry changes, or is removed.
    case expiryChanged
    /// Only the revision changes.
    case noted
    case unchanged
    /// The store changed the key after the list was begun.
    case newer
    /// The store's record has a larger revision.
    case olderRevision
    /// The key is revoked, and stays revoked.
    case staysRevoked
    /// The store's record of the key can't be read, and stays.
    case damaged
  }

  /// One key of a sample.
  public struct Example: Sendable, Hashable {
    public var key: KeyID
    /// As in the list, or as in the store if the key isn't listed.
    public var account: String
  }

  private var counts = Array(repeating: 0, count: Kind.allCases.count)
  private var samples: [[Example]] = Array(repeating: [], count: Kind.allCases.count)

  public static let exampleLimit = 5

  public subscript(kind: Kind) -> Int { counts[kind.rawValue] }
  public func examples(of kind: Kind) -> [Example] { samples[kind.rawValue] }

  /// Keys that are changed in any way.
  public var changed: Int { Self.changing.reduce(0) { $0 + self[$1] } }
  /// The effects that an operator should see.
  public static let changing: [Kind] = [
    .added, .activated, .suspended, .revoked, .moved, .expired, .expiryChanged, .noted,
  ]

  mutating func note(_ kind: Kind, _ key: KeyID, _ account: String) {
    counts[kind.rawValue] += 1
    if samples[kind.rawValue].count < Self.exampleLimit {
      samples[kind.rawValue].append(Example(key: key, account: account))
    }
  }

  /// The effect of a list on one key; nil if the key isn't listed and stays unchanged.
  /// - Parameters:
  ///   - record: The store's record; nil if there is none.
  ///   - isNewer: Whether the store changed the key after the list was begun.
  ///   - now: Redis's time, in seconds since 1970.
  static func kind(
    of record: KeyRecord?, listed entry: KeyListEntry?, isNewer: Bool, at now: Int64, _ terms: ListConsequences.Terms
  ) -> Kind? {
    guard let record else { return entry == nil ? nil : .added }
    guard let entry else {
      guard terms.revokesUnlisted, record.state != .revoked else { return nil }
      return isNewer ? .newer : .revoked
    }
    let state = entry.state ?? (terms.reactivates ? .active : record.state)
    let expiresAt = entry.expiry.applied(to: record.expiresAt)
    let hasSameHolder = state == record.state && entry.account == record.account
    let isSame = hasSameHolder && expiresAt == record.expiresAt
    let hasNewRevision = entry.revision.map { revision in record.revision.map { revision > $0 } ?? true } ?? false
    if isSame, !hasNewRevision { return .unchanged }
    if let listed = entry.revision, let ours = record.revision, listed < ours { return .olderRevision }
    if isNewer { return .newer }
    if record.state == .revoked, !isSame, !terms.reactivates { return .staysRevoked }
    if entry.account != record.account { return .moved }
    if isSame { return .noted }
    if hasSameHolder {
      let ends = ListConsequences.ends(record, becoming: state, expiresAt, at: now)
      return ends ? .expired : .expiryChanged
    }
    return switch state {
    case .active: .activated
    case .suspended: .suspended
    case .revoked: .revoked
    }
  }
}
