// Why an edit left a key as it is. The verbs of key-publisher and its HTTP API decide and say the same; only the way in
// which the caller insists differs, an option there and a member of a JSON object here.

public import KeyReplica

/// What the store has against an edit, or what the caller didn't expect.
public struct KeyObjection: Error, Sendable, Hashable {
  public enum Reason: String, Sendable, CaseIterable {
    /// The state of a key was to change, and the store doesn't know the key.
    case unknownKey = "unknown_key"
    case revoked
    /// A put found the key suspended, and left it so.
    case suspended
    case otherAccount = "other_account"
    /// The key was changed since the version that the edit rests on.
    case newerVersion = "newer_version"
    /// The record has a larger revision.
    case olderRevision = "older_revision"
    /// Another edit of the same step stands against it.
    case notReached = "not_reached"
  }

  /// How the caller says that it insists.
  public struct Insistence: Sendable {
    /// A put that makes a revoked key active again.
    public var reactivatingPut: String
    /// The addition to a put that makes a key active.
    public var reactivate: String
    /// The addition to a put that moves a key to another account.
    public var changeAccount: String

    public init(reactivatingPut: String, reactivate: String, changeAccount: String) {
      self.reactivatingPut = reactivatingPut
      self.reactivate = reactivate
      self.changeAccount = changeAccount
    }
  }

  public let reason: Reason
  /// A sentence without its full stop.
  public let fact: String
  /// What to do; nil if there is nothing but to look.
  public let remedy: String?
  /// A put with a larger revision leaves that in the record, even if the key's state isn't as expected.
  public let changedRevision: Bool

  /// What was changed nevertheless.
  public var extent: String { changedRevision ? "Only its revision was changed" : "Nothing was changed" }

  /// All of it.
  public var sentence: String { "\(fact)\(remedy.map { "; \($0)" } ?? ""). \(extent)" }

  /// - Parameters:
  ///   - version: What the edit rests on.
  /// - Returns: nil if the key is now as the edit says.
  public init?(_ result: EditResult, to edit: KeyEdit, basedOn version: UInt64?, insistence: Insistence) {
    let key = "key \(edit.key)"
    let state = result.state?.word ?? "unreadable"
    var remedy: String?
    switch result.kind {
    case .changed, .unchanged:
      guard case .put = edit.kind, result.state != .active,
        !(edit.allowing.contains(.move) && result.kind == .changed)
      else { return nil }
      reason = result.state == .revoked ? .revoked : .suspended
      fact = "\(key) is \(state), and a put leaves it so"
      remedy = "say \(insistence.reactivate) to make it active"
    case .missing:
      reason = .unknownKey
      fact = "the store doesn't know \(key)"
    case .staysRevoked:
      reason = .revoked
      fact = "\(key) is revoked, and stays so"
      remedy = "only \(insistence.reactivatingPut) brings it back"
    case .otherAccount:
      reason = .otherAccount
      fact = "\(key) belongs to another account in the store and is \(state)"
      remedy = "say \(insistence.changeAccount) to move it"
    case .newerVersion:
      reason = .newerVersion
      fact = "\(key) was changed after version \(version ?? 0), and is \(state) now"
    case .olderRevision:
      reason = .olderRevision
      fact = "\(key) has a larger revision in the store than \(edit.revision ?? 0), and is \(state)"
    case .unagreed, .notReached:
      reason = .notReached
      fact = "\(key) is \(state)"
    }
    self.remedy = remedy
    changedRevision = result.kind == .changed
  }
}

extension KeyEdit {
  /// A key that is to be active. By itself it leaves a suspended or revoked key as it is, and a key with its account.
  /// - Parameters:
  ///   - reactivates: Whether a suspended or revoked key becomes active again.
  ///   - changesAccount: Whether a key of another account moves to this one.
  public static func active(
    _ key: KeyID, of account: String, reactivates: Bool, changesAccount: Bool, revision: UInt64?
  ) -> KeyEdit {
    var edit = KeyEdit(key: key, kind: .put(account: account, reactivates ? .active : nil), revision: revision)
    if reactivates { edit.allowing.insert(.reactivate) }
    if changesAccount { edit.allowing.insert(.move) }
    return edit
  }

  /// Whether it only takes a key out of service, which a full Redis carries out too.
  package var onlyEnds: Bool {
    switch kind {
    case .put: false
    case .setState(let state): state != .active
    case .check: true
    }
  }
}
