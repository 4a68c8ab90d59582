// What the store has lost without saying so. No verb of the publisher makes the record of an active key disappear: a
// key that ends gets a record that says so, and only records of keys that ended long ago are purged. So if an active
// key has no record any more, the store lost it: somebody restored an old backup, promoted a replica that lagged, or
// edited the store. However few such keys there are, they stay admitted until they are put again, or until an operator
// confirms that they are meant to be gone.
//
// A restored backup loses revocations as well. Their keys are active in the store, and nothing can be proven against
// them, so they are admitted again. They are counted, and said until an operator confirms.
//
// A confirmation counts for what is lost only if this node didn't know it yet: it was made after the node had last seen
// the lost keys. A version alone doesn't tell. The backup may contain an old confirmation, and its versions are used
// again. Where that can't be told, because a confirmation was made in a history that went back while the node was away,
// the keys stay held, and the operator confirms once more.
//
// Rejected: to let small losses pass, as the removal guard does with keys that were revoked. A customer that is refused
// by mistake is one too many, and a loss is never business as usual.

/// Keys that the store has lost, and revocations that it has lost.
struct StoreLosses {
  /// Keys that stay admitted because their records vanished, with their accounts and ends.
  private(set) var vanished: [KeyPrefix: HeldBackKey] = [:]
  /// Keys that are active again because the store's history went back behind their revocation.
  private(set) var revived: Set<KeyPrefix> = []
  /// The latest confirmation in this history that is known; nil before the store was heard.
  private(set) var latestConfirmation: UInt64?
  /// A confirmation that was new at the last comparison: what is missing by then is confirmed.
  private var confirmedBy: UInt64?
  /// Whether buckets may have been read that have records of vanished keys again.
  private var needsReview = false

  init(latestConfirmation: UInt64?) { self.latestConfirmation = latestConfirmation }

  var isEmpty: Bool { vanished.isEmpty && revived.isEmpty }

  /// Applies the store's description.
  /// - Returns: Whether it has a confirmation that wasn't known.
  mutating func heard(confirmed version: UInt64, isOtherHistory: Bool) -> Bool {
    if let confirmedBy, isOtherHistory || version < confirmedBy { self.confirmedBy = nil }
    guard let latest = latestConfirmation, !isOtherHistory else {
      // A confirmation in another history may be older than what is lost.
      latestConfirmation = version
      return false
    }
    guard version > latest else { return false }
    confirm(upTo: version)
    confirmedBy = version
    return true
  }

  /// An operator confirms that all losses are intended.
  mutating func confirm(upTo version: UInt64) {
    latestConfirmation = max(latestConfirmation ?? 0, version)
    vanished = [:]
    revived = []
  }

  /// Records that an active key has no record any more.
  /// - Returns: Whether it is held.
  mutating func note(_ removal: Removal) -> Bool {
    guard confirmedBy == nil else { return false }
    vanished[removal.key] = removal.held
    return true
  }

  /// Records that a key is active whose revocation the store has lost.
  mutating func revive(_ key: KeyPrefix) { revived.insert(key) }

  /// A change has written the key's record.
  mutating func hasRecord(_ key: KeyPrefix, isActive: Bool) {
    if !vanished.isEmpty { vanished[key] = nil }
    if !isActive, !revived.isEmpty { revived.remove(key) }
  }

  /// The mirror was compared with the store: buckets may be read that have records of vanished keys again.
  mutating func compared() { needsReview = !isEmpty }

  /// Whether ``settled(state:)`` has something to do.
  var awaitsSettling: Bool { needsReview || confirmedBy != nil }

  /// The mirror is complete. What was confirmed has been recorded, and what has a record again isn't lost.
  /// - Parameter state: The mirrored state of a key; nil if it has no record.
  mutating func settled(state: (KeyPrefix) -> KeyState?) {
    confirmedBy = nil
    guard needsReview else { return }
    needsReview = false
    vanished = vanished.filter { state($0.key) == nil }
    revived = revived.filter { state($0) == .active }
  }
}
