// How many envelopes a lane claims from each of the accounts' own lists. If a lane has no time for an account's
// payloads, it sets them aside (`Disposition.setAside`). Each of these is moved in Redis and written into the
// append-only file. Moving from list 0 to an account's own list happens once and helps: other accounts' payloads are
// claimed sooner. Moving from an own list and back would be useless and repeated. So from such a list a lane claims
// about as many envelopes as it stored lately.

internal import IngestQueue

struct ClaimSize {
  private let most: Int
  private var limits: [Int: Int] = [:]

  private static let least = 4

  init(most: Int) { self.most = most }

  /// The limit for a list; nil if only the limit of a claim applies.
  func limit(of list: Int) -> Int? { limits[list] }

  /// Records the results of a claim.
  mutating func note(_ entries: [ClaimedEntry], _ fates: [Disposition]) {
    var counts: [Int: (claimed: Int, setAside: Int)] = [:]
    for (entry, fate) in zip(entries, fates) where entry.list > 0 {
      counts[entry.list, default: (0, 0)].claimed += 1
      if fate == .setAside { counts[entry.list, default: (0, 0)].setAside += 1 }
    }
    for (list, count) in counts { note(list, claimed: count.claimed, setAside: count.setAside) }
  }

  mutating func note(_ list: Int, claimed: Int, setAside: Int) {
    if setAside > 0 {
      limits[list] = min(max((claimed - setAside) * 5 / 4, Self.least), most)
    } else if let limit = limits[list], claimed >= limit {
      limits[list] = limit * 2 < most ? limit * 2 : nil
    }
  }
}
