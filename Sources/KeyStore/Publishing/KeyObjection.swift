// Why an edit left a key unchanged. The verbs of key-publisher and its HTTP API share the decision and the texts. Only
// the way to permit the change differs: a verb has an option for the permission, and the API a member of a JSON object.

public import KeyReplica

/// Why the store didn't carry out an edit, or why the key isn't in the state that the edit was meant for.
public struct KeyObjection: Error, Sendable, Hashable {
  public enum Reason: String, Sendable, CaseIterable {
    /// The edit changes the state of a key that isn't in the store.
    case unknownKey = "unknown_key"
    case revoked
    /// The edit is a put for a suspended key, which stayed suspended.
    case suspended
    case otherAccount = "other_account"
    /// The key was changed after the version that the edit is based on.
    case newerVersion = "newer_version"
    /// The record has a larger revision than the edit.
    case olderRevision = "older_revision"
    /// The edit depends on another edit of the same step, which wasn't carried out.
    case notReached = "not_reached"
    /// The key's record can't be read.
    case damagedRecord = "damaged_record"
  }

  /// The texts for the permissions that a caller can add to an edit.
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
  /// What to do; nil if nothing that the caller could do would change the result.
  public let remedy: String?
  /// Whether the record's revision was changed. A put with a larger revision writes it into the record, whatever the
  /// key's state is.
  public let changedRevision: Bool

  /// The sentence about what was changed nevertheless.
  public var extent: String { changedRevision ? "Only its revision was changed" : "Nothing was changed" }

  /// The whole text: fact, remedy and extent.
  public var sentence: String { "\(fact)\(remedy.map { "; \($0)" } ?? ""). \(extent)" }

  /// nil if the key is now as the edit requests.
  /// - Parameter version: The version that the edit is based on.
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
      remedy = "use \(insistence.reactivate) to make it active"
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
      remedy = "use \(insistence.changeAccount) to move it"
    case .newerVersion:
      reason = .newerVersion
      fact = "\(key) was changed after version \(version ?? 0), and is \(state) now"
    case .olderRevision:
      reason = .olderRevision
      fact =
        "this change is out of date: \(key) has a larger revision than \(edit.revision ?? 0) in the store, and is \(state)"
    case .damaged:
      reason = .damagedRecord
      fact = DamagedRecord(key: edit.key).fact
      remedy = DamagedRecord.remedy
    case .unagreed, .notReached:
      reason = .notReached
      fact = "\(key) is \(state), and was left so because an earlier change of this request failed"
    }
    self.remedy = remedy
    changedRevision = result.kind == .changed
  }
}

extension KeyEdit {
  /// An edit that adds an active key. Without permissions a suspended or revoked key stays unchanged, and a key stays
  /// with its account.
  /// - Parameters:
  ///   - reactivates: Whether a suspended or revoked key becomes active again.
  ///   - changesAccount: Whether a key of another account moves to this one.
  ///   - expiry: When the key ends.
  public static func active(
    _ key: KeyID, of account: String, reactivates: Bool, changesAccount: Bool, revision: UInt64?,
    expiry: ExpiryChange = .keep
  ) -> KeyEdit {
    var edit = KeyEdit(
      key: key, kind: .put(account: account, reactivates ? .active : nil), revision: revision, expiry: expiry)
    if reactivates { edit.allowing.insert(.reactivate) }
    if changesAccount { edit.allowing.insert(.move) }
    return edit
  }

  /// Whether the edit only suspends or revokes a key. A Redis that is full still carries out such edits.
  package var onlyEnds: Bool {
    switch kind {
    case .put: false
    case .setState(let state): state != .active
    case .check: true
    }
  }
}
