import QueueFixture
import RedisFixture
import Testing

@testable import IngestQueue

struct ListAmountsTests {
  private let hand = AccountShuffleShard(account: "acme")

  private func amounts(later: Int64 = 0, _ change: (inout [Int64]) -> Void) -> ListAmounts {
    var amounts = ListAmounts(later: later)
    change(&amounts.lists)
    return amounts
  }

  @Test func `an account holds much if each of its two lists has a sixteenth of all`() {
    let others = (1..<QueueLayout.lists).first { $0 != hand.first && $0 != hand.second } ?? 0
    for (first, second, isMuch) in [(100, 100, true), (100, 99, false), (99, 100, false), (800, 99, false)] {
      let amounts = amounts {
        $0[hand.first] = Int64(first)
        $0[hand.second] = Int64(second)
        $0[others] = Int64(1_600 - first - second)
      }
      #expect(amounts.mayHoldMuch(hand) == isMuch, "\(first), \(second)")
    }
  }

  @Test func `a flood in one of an account's lists isn't the account's`() {
    #expect(!amounts { $0[hand.first] = 1_000_000 }.mayHoldMuch(hand))
  }

  @Test func `where most could be anybody's, everybody may hold much`() {
    #expect(amounts { $0[0] = 800 }.mayHoldMuch(hand))
    #expect(
      amounts {
        $0[0] = 800
        $0[hand.first] = 800
      }.mayHoldMuch(hand))
    #expect(
      !amounts {
        $0[0] = 700
        $0[hand.first] = 800
      }.mayHoldMuch(hand))
  }

  @Test func `who has payloads that wait for a retry isn't looked for in lists, where little waits`() {
    #expect(!ListAmounts().mayHoldMuch(hand))
    #expect(!amounts(later: 800) { $0[hand.first] = 1 }.mayHoldMuch(hand))
    #expect(!amounts(later: 800) { $0[0] = 10 }.mayHoldMuch(hand), "what is in list 0 for a moment")
    let flood = amounts(later: 800) {
      $0[hand.first] = 400
      $0[hand.second] = 400
    }
    #expect(flood.mayHoldMuch(hand))
  }

  @Test func `an account can't choose that its large payloads are all in one list`() {
    var generator = SeededGenerator.announced()
    var (entries, bytes) = (ListAmounts(), ListAmounts())
    entries.lists[0] = AccountShuffleShard.shortList
    for number in 0..<2_000 {
      // One by one, as its lists would take turns by their lengths.
      let size: Int64 = number.isMultiple(of: 2) ? 60_000 : 1
      let list = AccountShuffleShard.list(
        of: AccountShuffleShard.hash(of: "acme"), sendsMuch: true, isLarge: false, lengths: entries.lists,
        draw: .random(using: &generator))
      entries.lists[list] += 1
      bytes.lists[list] += size
    }
    let (first, second) = (bytes.lists[hand.first], bytes.lists[hand.second])
    #expect(first + second == 1_000 * 60_001)
    #expect(min(first, second) * 4 > first + second, "\(first), \(second)")
    #expect(bytes.mayHoldMuch(hand))
  }
}
