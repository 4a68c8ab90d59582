// How many envelopes a lane claims from accounts' own lists. A sink that is slow sets aside what it doesn't get to (`SinkOutcome.setAside`), and each of
// these is moved in Redis, and written into its append-only file. From list 0 to its account's own that happens once and is worth it: others come
// forward. From one's own list and back it would be for nothing, again and again. So that part is about as large as what the sink got through lately.

struct ClaimSize {
  private let most: Int
  /// From accounts' own lists.
  private(set) var own: Int

  /// Fewer would leave turns to nobody: each list has a share.
  private static let least = 16

  init(most: Int) {
    self.most = most
    own = most
  }

  /// - Parameters:
  ///   - own: How many came from accounts' own lists.
  ///   - claimed: How many came in all.
  mutating func note(own count: Int, of claimed: Int, setAside: Int) {
    if setAside > 0 {
      // Some of the own ones, and not all, where list 0 had others: this may be too few, and grows again.
      self.own = min(max((claimed - setAside) * 5 / 4, Self.least), most)
    } else if count >= own {
      self.own = min(own * 2, most)
    }
  }
}
