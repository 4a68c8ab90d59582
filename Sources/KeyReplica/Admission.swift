// When a key is admitted: one rule, for the listeners' threads, which ask the table, and for the state machine, which
// holds some more keys.
//
// A key is admitted that is held as active, as long as what says so isn't too old. How old that may be is a deadline.
// The whole mirror has one; a bucket that the store has changed, and what such a bucket held before, keep the one that
// they had before the change was known of. Neither the phase of the replica nor its troubles matter: that is what a
// refusal needs.
//
// Rejected: a deadline of the whole that the driver hands to the listeners, beside the buckets' deadlines in the table.
// Then the rule is written twice, and what the one sees of a bucket may be younger than what it sees of the whole.

/// A key that is held as active.
public struct HeldKey: Sendable {
  /// What holds it.
  package enum Source: Sendable {
    case mirrored
    /// It isn't in a bucket any more since that was read, and the mirror isn't complete yet.
    case formerlyMirrored
    /// Its removal waits for an operator, or its record vanished.
    case quarantined
  }

  public let account: String
  /// Until when it is admitted on the strength of that; nil where nothing was ever heard.
  package let until: Instant?
  package let source: Source

  /// The rule of admission.
  public func isAdmitted(at now: Instant) -> Bool { Self.isAdmitted(until: until, at: now) }

  static func isAdmitted(until: Instant?, at now: Instant) -> Bool { until.map { now < $0 } ?? false }

  /// The same key after a read of the store has shown that what is held of it is right.
  func known(until later: Instant) -> HeldKey {
    HeldKey(account: account, until: max(until ?? later, later), source: source)
  }
}

extension KeyTable {
  /// What the table holds of a key as active; nil if nothing. For any thread, which asks afterwards what time it is.
  public func held(_ id: KeyID) -> HeldKey? {
    // Deadlines before the record, and the whole's before the bucket's: the other way round from how they are written.
    // So nobody takes an old record for one that was just read, or one that the store has changed for as fresh as the
    // rest.
    let whole = admitUntil
    let bucket = admitUntil(id)
    guard let (state, account) = find(id), state == .active else { return nil }
    return HeldKey(account: account, until: whole.map { min($0, bucket ?? $0) }, source: .mirrored)
  }
}

extension Replica {
  /// Until when keys that are active in the mirror are admitted, unless their bucket has a deadline of its own; nil as
  /// long as nothing was ever read.
  public var admitUntil: Instant? { mirror.table.admitUntil }

  /// What is held of a key as active, by the table or by what keeps removals from taking effect; nil if nothing.
  package func held(_ key: KeyID) -> HeldKey? {
    if let mirrored = mirror.table.held(key) { return mirrored }
    let prefix = KeyPrefix(key)
    if let (entry, until) = mirror.former.active(prefix, of: key.bucket(of: mirror.table.bucketCount)) {
      return HeldKey(account: mirror.table.accountName(of: entry.account), until: until, source: .formerlyMirrored)
    }
    return (removalGuard.quarantined[prefix] ?? losses.vanished[prefix]).map {
      HeldKey(account: $0, until: admitUntil, source: .quarantined)
    }
  }

  /// Admits a key that is held as active, unless what says so is too old; nil if it isn't held as active.
  /// - Parameter proven: When a read was sent that has just shown the mirror to be right, if one has.
  func admission(of key: KeyID, now: Instant, proven sentAt: Instant? = nil) -> Verdict? {
    guard var held = held(key) else { return nil }
    if let sentAt { held = held.known(until: sentAt + limits.admitAge) }
    if held.isAdmitted(at: now) { return .admit(account: held.account) }
    return .undecided(.stale(held.until.map { limits.admitAge + (now - $0) } ?? limits.admitAge))
  }
}
