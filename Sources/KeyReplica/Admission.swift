// When a key is admitted. There is one rule for two callers: the listeners' threads, which read the table, and the
// state machine, which knows some more active keys.
//
// A key is admitted if the mirror holds it as active and that information isn't too old. The maximum age is expressed
// as a deadline. The whole mirror has one deadline. A bucket that the store has changed keeps the deadline that it had
// before the change was known, and so does the bucket's former content. Neither the phase of the replica nor its
// troubles matter for admission, only for refusals.
//
// A key that may have ended by Redis's clock isn't admitted without a read of that clock (see KeyExpiry). For a key
// without an expiry this is one comparison of a number that is in the entry anyway.
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
    /// The key's removal waits for an operator, or its record vanished.
    case quarantined
  }

  public let account: String
  /// The time until which the key is admitted; nil if the store never answered.
  package let until: Instant?
  package let source: Source
  /// The key's expiry.
  let expiry: KeyExpiry
  /// When Redis's clock may reach the key's expiry at the earliest; nil if it has none, or if Redis's time
  /// isn't known.
  package let mayEndAt: Instant?

  init(account: String, until: Instant?, source: Source, expiry: KeyExpiry, clock: @autoclosure () -> StoreClock?) {
    self.account = account
    self.until = until
    self.source = source
    self.expiry = expiry
    mayEndAt = expiry.isNone ? nil : clock()?.earliest(expiry)
  }

  private init(_ other: HeldKey, until: Instant?) {
    (account, self.until, source) = (other.account, until, other.source)
    (expiry, mayEndAt) = (other.expiry, other.mayEndAt)
  }

  /// The rule of admission.
  public func isAdmitted(at now: Instant) -> Bool { isFresh(at: now) && !mayHaveEnded(at: now) }

  /// Whether the information that the key is active isn't too old.
  func isFresh(at now: Instant) -> Bool { Self.isAdmitted(until: until, at: now) }

  /// Whether the key may have ended by Redis's clock. That proves nothing: a read of Redis's clock decides.
  func mayHaveEnded(at now: Instant) -> Bool { mayEndAt.map { $0 <= now } ?? false }

  static func isAdmitted(until: Instant?, at now: Instant) -> Bool { until.map { now < $0 } ?? false }

  /// The same key after a read of the store has proven that it is still active.
  func known(until later: Instant) -> HeldKey {
    HeldKey(self, until: max(until ?? later, later))
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
    guard let entry = entry(id), entry.state == .active else { return nil }
    return HeldKey(
      account: accountName(of: entry.account), until: whole.map { min($0, bucket ?? $0) }, source: .mirrored,
      expiry: entry.expiry, clock: storeClock)
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
      return HeldKey(
        account: mirror.table.accountName(of: entry.account), until: until, source: .formerlyMirrored,
        expiry: entry.expiry, clock: mirror.table.storeClock)
    }
    return (removalGuard.quarantined[prefix] ?? losses.vanished[prefix]).map {
      HeldKey(
        account: $0.account, until: admitUntil, source: .quarantined, expiry: $0.expiry,
        clock: mirror.table.storeClock)
    }
  }

  /// Admits a key that is held as active, unless that information is too old; nil if the key isn't held as active, or
  /// if it has ended.
  /// - Parameter read: The read that has just proven the mirror correct, if there was one. Then Redis's time in it
  ///   decides whether the key has ended. Without it the key may have ended if Redis's clock may have come that far.
  func admission(of key: KeyID, now: Instant, proven read: Barrier.Reached? = nil) -> Verdict? {
    guard var held = held(key) else { return nil }
    if let read { held = held.known(until: read.readSentAt + limits.admitAge) }
    let hasEnded = read?.position.time.map { held.expiry.isReached(at: $0) } ?? held.mayHaveEnded(at: now)
    if hasEnded {
      // No record in the store says that this key has ended, so it can't be refused.
      return held.source == .quarantined ? .undecided(.expiryUnproven) : nil
    }
    if held.isFresh(at: now) { return .admit(account: held.account) }
    return .undecided(.stale(held.until.map { limits.admitAge + (now - $0) } ?? limits.admitAge))
  }
}
