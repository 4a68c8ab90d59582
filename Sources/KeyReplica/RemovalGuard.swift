// Delays mass removals that are probably a mistake. A job that empties the key store by accident makes valid changes:
// digests agree, versions are consecutive, and every refusal could be proven. The mistake shows only in the number of
// removals, and in that no publisher marked them as intended.
//
// So removals (an active key becomes suspended or revoked) are counted. Keys that vanish aren't counted: they are held,
// however few they are (see StoreLosses). A few removals are usual. If more than a share of the active keys is removed
// within a window without such a mark, all unmarked removals of that window are quarantined: the keys stay admitted, the
// node reports it, and an operator confirms the removals, or undoes them in the store. Rejected: to stop following the
// store, which would keep new keys out as well.
//
// An intended removal is marked in its own change, and the store counts the marks. The count is needed only if a node
// reads buckets instead of changes: then the node accepts as many removals as marks that it has missed. The unused rest
// of this allowance ends once the mirror is complete. Rejected: a publisher that announces how many removals will
// follow. If it dies, or if another publisher makes these removals first, the unused announcement would permit as many
// other removals, whatever their cause.

/// The part of a key's ID that is in the table.
struct KeyPrefix: Sendable, Hashable {
  let id0: UInt64
  let id1: UInt64

  init(_ id: KeyID) {
    id0 = id.words.0
    id1 = id.words.1
  }

  init(_ id0: UInt64, _ id1: UInt64) {
    self.id0 = id0
    self.id1 = id1
  }

  /// As ``KeyID/bucket(of:)``.
  func bucket(of count: Int) -> Int {
    Int(truncatingIfNeeded: id0 >> UInt64(UInt64.bitWidth - count.trailingZeroBitCount))
  }
}

/// An active key that a change or a bucket removed.
struct Removal: Sendable, Equatable {
  let key: KeyPrefix
  /// What the key was.
  let held: HeldBackKey
  let bucket: Int
  /// The version of the change; or for a bucket that was read, of the bucket's last change.
  let version: UInt64
  /// Whether the key has no record any more. That isn't a normal revocation: a revoked key keeps its record.
  let vanished: Bool
}

/// Keeps keys admitted that would be removed in bulk without a mark.
struct RemovalGuard {
  private let share: Double
  private let minimum: Int
  private let window: Duration

  /// Keys that stay admitted, with their accounts and ends.
  private(set) var quarantined: [KeyPrefix: HeldBackKey] = [:]
  /// Unmarked removals within the window, and their order. There may be as many as a tenth of all keys, so nothing here
  /// may iterate over all of them for one key.
  private var recent: [KeyPrefix: (at: Instant, held: HeldBackKey)] = [:]
  private var order = RemovalOrder()
  /// Marked removals that haven't been recorded yet.
  private var allowance: UInt64 = 0
  /// The number of marked removals in this history at the last reading; nil before the first.
  private(set) var announced: UInt64?
  private var confirmed: UInt64 = 0

  init(share: Double, minimum: Int, window: Duration, announced: UInt64?) {
    self.share = share
    self.minimum = minimum
    self.window = window
    self.announced = announced
  }

  /// Applies the store's counts.
  /// - Parameters:
  ///   - isNewConfirmation: Whether an operator confirmed removals after this node had last heard from the store.
  ///   - isOtherHistory: Whether the history changed: then the new marks are about other keys.
  mutating func heard(
    announced total: UInt64, confirmed version: UInt64, isNewConfirmation: Bool, isOtherHistory: Bool
  ) {
    // If the number is lower than before, the history went back, and the marks since then are unknown.
    if let known = announced, total > known, !isOtherHistory { allowance += total - known }
    announced = total
    if isNewConfirmation { confirm(upTo: version) }
    // A history that went back has an earlier one.
    confirmed = version
  }

  /// Call it before a removal is recorded whose change is marked as intended.
  mutating func agreed() {
    allowance += 1
    announced = (announced ?? 0) + 1
  }

  /// Call it when the mirror is complete and all removals up to its version have been recorded, including the marked
  /// ones.
  mutating func settled() { allowance = 0 }

  /// Records that an operator has confirmed all removals up to this version.
  mutating func confirm(upTo version: UInt64) {
    confirmed = version
    quarantined = [:]
    forgetRecent()
  }

  /// Records a removal of which the key's record tells.
  /// - Parameter active: How many active keys are left.
  /// - Returns: Whether this one exceeds the limit.
  mutating func note(_ removal: Removal, active: Int, now: Instant) -> Bool {
    // Version 0 means that a bucket was never written in this history. If nothing was confirmed, its removals aren't
    // confirmed either.
    if confirmed > 0, removal.version <= confirmed { return false }
    if allowance > 0 {
      allowance -= 1
      return false
    }
    guard quarantined.isEmpty else {
      quarantined[removal.key] = removal.held
      return false
    }
    while let oldest = order.first, oldest.at + window <= now {
      // If the key returned and was removed again, its entry is newer and stays.
      if recent[oldest.key]?.at == oldest.at { recent[oldest.key] = nil }
      order.removeFirst()
    }
    recent[removal.key] = (now, removal.held)
    order.append(removal.key, at: now)
    guard recent.count > max(minimum, Int(share * Double(active + recent.count))) else { return false }
    for (key, entry) in recent { quarantined[key] = entry.held }
    forgetRecent()
    return true
  }

  /// Records that the key is active again.
  mutating func returned(_ key: KeyPrefix) {
    quarantined[key] = nil
    recent[key] = nil
  }

  private mutating func forgetRecent() {
    recent = [:]
    order = RemovalOrder()
  }
}

/// Removals in the order of their times. They are taken from the front.
private struct RemovalOrder {
  private var entries: [(at: Instant, key: KeyPrefix)] = []
  private var taken = 0

  var first: (at: Instant, key: KeyPrefix)? { taken < entries.count ? entries[taken] : nil }

  mutating func append(_ key: KeyPrefix, at now: Instant) { entries.append((now, key)) }

  mutating func removeFirst() {
    taken += 1
    // The array is compacted only when half of its entries are gone, so the cost per entry is constant.
    if taken * 2 > entries.count {
      entries.removeFirst(taken)
      taken = 0
    }
  }
}
