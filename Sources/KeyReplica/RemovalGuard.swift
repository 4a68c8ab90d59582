// Stands between the store and a mistake. A job that empties the key store by accident makes changes that are as sound
// as any: digests fit, versions follow each other, and every refusal could be proven. What gives it away is its size,
// and that nobody agreed to it.
//
// So removals (an active key becomes suspended, revoked, or vanishes) are counted. A few are business as usual. More
// than a share of the active keys within a while, that no publisher's guard has agreed to, are quarantined, those of
// that while included: the keys stay admitted, the node says so, and an operator confirms the removals, or undoes them
// at the store. Rejected: to stop following the store, which would keep new keys out as well.
//
// A removal that was agreed to says so in its own change, and the store counts such changes. The count is needed only
// where a node reads buckets instead of changes: what it was behind by is what it may lose without a word, and nothing
// of it is left once the mirror is complete. Rejected: a publisher that announces how many removals are about to come.
// What it then doesn't remove, because it dies or because somebody else was faster, would let as many others pass,
// whoever causes them.

/// The part of a key's id that the table keeps.
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

/// An active key that a change or a bucket took away.
struct Removal: Sendable, Equatable {
  let key: KeyPrefix
  let account: String
  let bucket: Int
  /// The version of the change, or of the last change of the bucket that was read.
  let version: UInt64
  /// Whether the key has no record any more: records end as revoked, they don't vanish.
  let vanished: Bool
}

/// Keeps keys admitted that would be removed in bulk without anybody having said so.
struct RemovalGuard {
  private let share: Double
  private let minimum: Int
  private let window: Duration

  /// Keys that stay admitted, with their accounts.
  private(set) var quarantined: [KeyPrefix: String] = [:]
  /// Removals within the window that weren't announced, and in which order they came. Up to a tenth of all keys can be among them, so
  /// nothing here may go through all of them for one key.
  private var recent: [KeyPrefix: (at: Instant, account: String)] = [:]
  private var order = RemovalOrder()
  /// Removals that were agreed to and that haven't been noticed yet.
  private var allowance: UInt64 = 0
  /// All that were ever agreed to in this history, as last heard; nil before anything was heard.
  private(set) var announced: UInt64?
  private var confirmed: UInt64 = 0

  init(share: Double, minimum: Int, window: Duration, announced: UInt64?) {
    self.share = share
    self.minimum = minimum
    self.window = window
    self.announced = announced
  }

  /// Takes over what the store says of itself.
  /// - Parameter isOtherHistory: What was agreed to in another history was about other keys.
  mutating func heard(announced total: UInt64, confirmed version: UInt64, isOtherHistory: Bool) {
    // Less than was known: the history went back, and what was agreed to since isn't known.
    if let known = announced, total > known, !isOtherHistory { allowance += total - known }
    announced = total
    if version > confirmed { confirm(upTo: version) }
  }

  /// A change says that its removal was agreed to. Noted before the removal is.
  mutating func agreed() {
    allowance += 1
    announced = (announced ?? 0) + 1
  }

  /// The mirror is complete, and all that was taken away up to here has been noted: what was agreed to has come.
  mutating func settled() { allowance = 0 }

  /// An operator says that all removals up to this version are meant.
  mutating func confirm(upTo version: UInt64) {
    confirmed = version
    quarantined = [:]
    forgetRecent()
  }

  /// Another history begins: what was confirmed in the former one says nothing about it.
  mutating func forgetConfirmation() { confirmed = 0 }

  /// Takes note of a removal.
  /// - Parameter active: How many active keys are left.
  /// - Returns: Whether this is the one that was too many.
  mutating func note(_ removal: Removal, active: Int, now: Instant) -> Bool {
    // What a bucket lost that was never written in this history, which is at version 0, isn't confirmed by nobody's having confirmed anything.
    if confirmed > 0, removal.version <= confirmed { return false }
    if allowance > 0 {
      allowance -= 1
      return false
    }
    guard quarantined.isEmpty else {
      quarantined[removal.key] = removal.account
      return false
    }
    while let oldest = order.first, oldest.at + window <= now {
      // Only if it wasn't removed once more since, after it had come back.
      if recent[oldest.key]?.at == oldest.at { recent[oldest.key] = nil }
      order.removeFirst()
    }
    recent[removal.key] = (now, removal.account)
    order.append(removal.key, at: now)
    guard recent.count > max(minimum, Int(share * Double(active + recent.count))) else { return false }
    for (key, entry) in recent { quarantined[key] = entry.account }
    forgetRecent()
    return true
  }

  /// The key is active again.
  mutating func returned(_ key: KeyPrefix) {
    quarantined[key] = nil
    recent[key] = nil
  }

  private mutating func forgetRecent() {
    recent = [:]
    order = RemovalOrder()
  }
}

/// Removals in the order of their times, taken off at the front.
private struct RemovalOrder {
  private var entries: [(at: Instant, key: KeyPrefix)] = []
  private var taken = 0

  var first: (at: Instant, key: KeyPrefix)? { taken < entries.count ? entries[taken] : nil }

  mutating func append(_ key: KeyPrefix, at now: Instant) { entries.append((now, key)) }

  mutating func removeFirst() {
    taken += 1
    // Moved up only when half of them are gone, which costs a constant for each.
    if taken * 2 > entries.count {
      entries.removeFirst(taken)
      taken = 0
    }
  }
}
