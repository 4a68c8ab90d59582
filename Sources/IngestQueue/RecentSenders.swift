// Who has been sending much lately: pure, and rough on purpose. Each event loop looks at its own pushes; a flood comes over many
// connections, so it is one on every loop.
//
// Counters by hash instead of by name: they cost some nanoseconds a push, and a constant number of bytes however many accounts
// there are. An account that shares its counter with a flood is taken for one, which is one in 256 and harms it only where it
// shares both of the flood's lists as well. Half of everything is forgotten again and again, so what counts is the recent past.

/// Counts pushes by account, roughly, and forgets.
struct RecentSenders {
  private static let counters = 256
  /// Pushes after which half of what was counted is forgotten.
  private static let span = 2_048
  /// Who has at least one of so many pushes sends much.
  private static let share = 8
  /// Of fewer pushes than these nothing is concluded.
  private static let evidence = 256

  private var counts = [UInt16](repeating: 0, count: counters)
  private var total = 0

  /// Notes a push, and says whether its account sends much.
  /// - Parameter hash: Of the account, all of its bits mixed.
  mutating func note(_ hash: UInt64) -> Bool {
    // Other bits than those that choose the account's lists.
    let counter = Int(hash >> 16) & (Self.counters - 1)
    counts[counter] += 1
    total += 1
    let isMuch = total >= Self.evidence && Int(counts[counter]) * Self.share >= total
    if total == Self.span {
      for counter in counts.indices { counts[counter] /= 2 }
      total = counts.reduce(0) { $0 + Int($1) }
    }
    return isMuch
  }
}
