// When a key is admitted. There is one rule for two callers: the listeners' threads, which read the table, and the
// state machine, which knows some more active keys.
//
// A key is admitted if the mirror holds it as active and that information isn't too old. The maximum age is expressed
// as a deadline. The whole mirror has one deadline. A bucket that the store has changed keeps the deadline that it had
// before the change was known, and so does the bucket's former content. Neither the phase of the replica nor its
// troubles matter for admission, only for refusals.
//
// Rejected: a deadline of the whole mirror that the driver passes to the listeners, in addition to the buckets'
// deadlines in the table. Then the rule would be written twice, and a listener could combine a bucket's state with an
// older or newer deadline of the whole.

/// A key that the mirror holds as active.
public struct HeldKey: Sendable {
  /// Which part of the mirror holds the key.
  package enum Source: Sendable {
    case mirrored
    /// The key is missing in its bucket since the bucket was read again, and the mirror isn't complete yet.
    case formerlyMirrored
    /// The key's removal waits for an operator.
    case quarantined
  }

  public let account: String
  /// The time until which the key is admitted; nil if the store never answered.
  package let until: Instant?
  package let source: Source

  /// The rule of admission.
  public func isAdmitted(at now: Instant) -> Bool { Self.isAdmitted(until: until, at: now) }

  static func isAdmitted(until: Instant?, at now: Instant) -> Bool { until.map { now < $0 } ?? false }

  /// The same key after a read of the store has proven that it is still active.
  func known(until later: Instant) -> HeldKey {
    HeldKey(account: account, until: max(until ?? later, later), source: source)
  }
}

extension KeyTable {
  /// The key, if the table holds it as active; otherwise nil. Safe on any thread. The caller reads the clock
  /// afterwards.
  public func held(_ id: KeyID) -> HeldKey? {
    // Reads the deadline of the whole, then the bucket's deadline, then the record: the opposite of the order in which
    // they are written. So an old record is never combined with a new deadline, and a bucket that the store has changed
    // is never considered as fresh as the rest.
    let whole = admitUntil
    let bucket = admitUntil(id)
    guard let (state, account) = find(id), state == .active else { return nil }
    return HeldKey(account: account, until: whole.map { min($0, bucket ?? $0) }, source: .mirrored)
  }
}

extension Replica {
  /// The time until which active keys of the mirror are admitted, unless their bucket has a deadline of its own; nil if
  /// nothing was read yet.
  public var admitUntil: Instant? { mirror.table.admitUntil }

  /// The key, if it is held as active: by the table, by a bucket's former content, or in quarantine. Otherwise nil.
  package func held(_ key: KeyID) -> HeldKey? {
    if let mirrored = mirror.table.held(key) { return mirrored }
    let prefix = KeyPrefix(key)
    if let (entry, until) = mirror.former.active(prefix, of: key.bucket(of: mirror.table.bucketCount)) {
      return HeldKey(account: mirror.table.accountName(of: entry.account), until: until, source: .formerlyMirrored)
    }
    return removalGuard.quarantined[prefix].map { HeldKey(account: $0, until: admitUntil, source: .quarantined) }
  }

  /// Admits a key that is held as active, unless that information is too old; nil if the key isn't held as active.
  /// - Parameter proven: When the read was sent that has just proven the mirror correct, if there was one.
  func admission(of key: KeyID, now: Instant, proven sentAt: Instant? = nil) -> Verdict? {
    guard var held = held(key) else { return nil }
    if let sentAt { held = held.known(until: sentAt + limits.admitAge) }
    if held.isAdmitted(at: now) { return .admit(account: held.account) }
    return .undecided(.stale(held.until.map { limits.admitAge + (now - $0) } ?? limits.admitAge))
  }
}
