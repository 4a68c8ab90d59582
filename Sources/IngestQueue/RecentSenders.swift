// Who has been sending much lately, in payloads or in bytes: pure, and rough on purpose. Each event loop looks at its own pushes; a flood
// comes over many connections, so it is one on every loop.
//
// Counters by hash instead of by name: they cost some nanoseconds a push, and a constant number of bytes however many accounts
// there are. An account that shares its counter with a flood is taken for one, which is one in 256 and harms it only where it
// shares both of the flood's lists as well. Half of everything is forgotten again and again, so what counts is the recent past.

/// Counts by account, roughly, and forgets.
struct RecentSenders {
  private static let counters = 256
  /// An account with at least one part in so many sends much.
  private static let share = 8

  /// Half of what was counted is forgotten once it is as much as this.
  private let span: Int
  /// Of less than this nothing is concluded.
  private let evidence: Int
  private var counts = [Int](repeating: 0, count: counters)
  private var total = 0

  init(span: Int, evidence: Int) {
    self.span = span
    self.evidence = evidence
  }

  static let ofPayloads = RecentSenders(span: 2_048, evidence: 256)
  static let ofBytes = RecentSenders(span: 64 << 20, evidence: 8 << 20)

  /// Notes something, and says whether its account sends much.
  /// - Parameters:
  ///   - hash: Of the account, all of its bits mixed.
  ///   - amount: How much it is.
  mutating func note(_ hash: UInt64, _ amount: Int = 1) -> Bool {
    // Other bits than those that choose the account's lists.
    let counter = Int(hash >> 16) & (Self.counters - 1)
    counts[counter] += amount
    total += amount
    let isMuch = total >= evidence && counts[counter] * Self.share >= total
    if total >= span {
      for counter in counts.indices { counts[counter] /= 2 }
      total = counts.reduce(0, +)
    }
    return isMuch
  }
}
