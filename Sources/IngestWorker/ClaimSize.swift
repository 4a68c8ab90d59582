// How many envelopes a lane claims from each list that is accounts' own. Payloads of an account for which a lane has no
// time are set aside (`Disposition.setAside`), and each of these is moved in Redis, and written into its append-only
// file. From list 0 to an account's own list that happens once and is worth it: others' payloads move up. From an own
// list and back it would be useless, again and again. So from such a list a lane claims about as many as it stored
// lately.

internal import IngestQueue

struct ClaimSize {
  private let most: Int
  private var limits: [Int: Int] = [:]

  private static let least = 4

  init(most: Int) { self.most = most }

  /// Nil if there is no limit but that of a claim.
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
