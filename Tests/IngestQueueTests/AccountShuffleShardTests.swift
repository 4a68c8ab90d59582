import Testing

@testable import IngestQueue

struct AccountShuffleShardTests {
  private func lengths(_ change: (inout [Int64]) -> Void = { _ in }) -> [Int64] {
    var lengths = [Int64](repeating: 0, count: QueueLayout.lists)
    change(&lengths)
    return lengths
  }

  /// Figures of another implementation, in Python: nodes of any build and in any process have to agree.
  @Test func `an account's hand is the same everywhere`() {
    for (account, first, second) in [
      ("", 7, 12), ("acme", 7, 11), ("account-17", 12, 6), ("Müller & Söhne", 3, 6),
    ] {
      let hand = AccountShuffleShard(account: account)
      #expect((hand.first, hand.second) == (first, second), "\(account)")
    }
  }

  private func list(_ account: String, sendsMuch: Bool, isLarge: Bool = false, _ lengths: [Int64]) -> Int {
    AccountShuffleShard.list(
      of: AccountShuffleShard.hash(of: account), sendsMuch: sendsMuch, isLarge: isLarge, lengths: lengths)
  }

  @Test(arguments: [true, false])
  func `everybody's goes to list 0 as long as that is short and nothing else waits`(sendsMuch: Bool) {
    for account in (0..<100).map({ "account-\($0)" }) {
      #expect(list(account, sendsMuch: sendsMuch, lengths { $0[0] = AccountShuffleShard.shortList - 1 }) == 0)
      let hand = AccountShuffleShard(account: account)
      let list = list(account, sendsMuch: sendsMuch, lengths { $0[0] = AccountShuffleShard.shortList })
      #expect(list == hand.first || list == hand.second)
    }
  }

  @Test(arguments: [true, false])
  func `a large payload is in one of its account's own lists, though all lists are empty`(sendsMuch: Bool) {
    let hand = AccountShuffleShard(account: "acme")
    #expect(list("acme", sendsMuch: sendsMuch, isLarge: true, lengths()) == hand.first)
    #expect(list("acme", sendsMuch: sendsMuch, isLarge: true, lengths { $0[hand.first] = 1 }) == hand.second)
  }

  @Test func `a flood keeps to its lists while both hold something, and leaves list 0 to the others`() {
    let flood = AccountShuffleShard(account: "flood")
    let full = lengths {
      $0[flood.first] = 9_000
      $0[flood.second] = 1
    }
    #expect(list("flood", sendsMuch: true, full) == flood.second)
    let drained = lengths { $0[flood.first] = 9_000 }
    #expect(list("flood", sendsMuch: true, drained) == 0)
    // Those that share both of its lists as well.
    #expect(list("flood", sendsMuch: false, full) == 0)
  }

  @Test(arguments: [true, false]) func `of the two lists the shorter is taken`(sendsMuch: Bool) {
    let hand = AccountShuffleShard(account: "acme")
    for (longer, shorter) in [(hand.first, hand.second), (hand.second, hand.first)] {
      let lengths = lengths {
        $0 = $0.map { _ in 5_000 }
        $0[longer] = 3
        $0[shorter] = 2
      }
      #expect(list("acme", sendsMuch: sendsMuch, lengths) == shorter)
    }
  }

  @Test func `hands are spread evenly, and never one list twice`() {
    let accounts = 120_000
    var firsts = [Int](repeating: 0, count: QueueLayout.lists)
    var pairs: [Set<Int>: Int] = [:]
    for number in 0..<accounts {
      let hand = AccountShuffleShard(account: "account-\(number)")
      firsts[hand.first] += 1
      pairs[[hand.first, hand.second], default: 0] += 1
    }
    #expect(firsts[0] == 0 && firsts[QueueLayout.suspects] == 0)
    #expect(firsts[1...QueueLayout.ownLists].allSatisfy { abs($0 - accounts / 16) < accounts / 16 / 20 }, "\(firsts)")
    #expect(pairs.count == 120)
    #expect(pairs.values.allSatisfy { abs($0 - accounts / 120) < accounts / 120 / 5 }, "\(pairs.values.sorted())")
  }

  @Test func `a flood is in the way of few: one in 120 has the same hand, and three in four share none of its lists`() {
    let flood = AccountShuffleShard(account: "flood")
    let others = (0..<12_000).map { AccountShuffleShard(account: "customer-\($0)") }
    let same = others.count { Set([$0.first, $0.second]) == [flood.first, flood.second] }
    let apart = others.count { Set([$0.first, $0.second]).isDisjoint(with: [flood.first, flood.second]) }
    #expect(abs(same - 100) < 40, "\(same)")
    #expect(abs(apart - 9_100) < 200, "\(apart)")
  }
}
