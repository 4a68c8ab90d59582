// Accounts take turns by the cost of their payloads. Within an account the oldest payload is first.

import RedisFixture
import Testing

@testable import IngestSpool

struct SpoolTurnsTests {
  private static let large = 100_000

  private func turns(_ items: [SpoolTurns.Item]) -> SpoolTurns {
    var turns = SpoolTurns(largestTogether: Self.large)
    for item in items { turns.append(item) }
    return turns
  }

  private func items(_ numbers: Range<Int>, of account: Int, bytes: Int = 300) -> [SpoolTurns.Item] {
    numbers.map { SpoolTurns.Item(number: Int64($0), bytes: bytes, account: account) }
  }

  @Test func `a few payloads don't wait behind another account's thousands`() {
    var turns = turns(items(0..<100_000, of: 1) + items(100_000..<100_010, of: 2))
    let dealt = turns.deal(entries: 50, bytes: 1 << 20)
    #expect(dealt.filter { $0.account == 2 }.map(\.number) == (100_000..<100_010).map(Int64.init))
    #expect(turns.count == 99_960)
  }

  @Test func `an account's large payloads take no more than its share`() {
    var turns = turns(items(0..<100, of: 1, bytes: 90_000) + items(100..<1_000, of: 2, bytes: 2_000))
    var sent = [1: 0, 2: 0]
    while let item = turns.deal(entries: 1, bytes: 1 << 20).first, sent[2, default: 0] < 900 * 2_000 {
      sent[item.account, default: 0] += item.bytes
    }
    let ratio = Double(sent[1, default: 0]) / Double(sent[2, default: 0])
    #expect((0.9...1.2).contains(ratio), "\(ratio)")
  }

  @Test func `a large payload is dealt alone`() {
    var turns = turns(items(0..<2, of: 1) + items(2..<3, of: 2, bytes: 2 * Self.large) + items(3..<5, of: 3))
    var dealt: [[Int64]] = []
    while case let next = turns.deal(entries: 10, bytes: 1 << 20), !next.isEmpty { dealt.append(next.map(\.number)) }
    #expect(dealt == [[0, 1, 3, 4], [2]])
  }

  @Test func `who rests isn't dealt before it is woken, and then in order`() {
    var turns = turns(items(0..<4, of: 1) + items(4..<6, of: 2))
    let first = turns.deal(entries: 2, bytes: 1 << 20)
    #expect(first.map(\.number) == [0, 1])
    turns.putBack(first, rests: true)
    #expect(turns.isAnyResting)
    let others = turns.deal(entries: 10, bytes: 1 << 20)
    #expect(others.map(\.number) == [4, 5])
    let none = turns.deal(entries: 10, bytes: 1 << 20)
    #expect(none.isEmpty && turns.count == 4)
    turns.wake()
    let all = turns.deal(entries: 10, bytes: 1 << 20)
    #expect(all.map(\.number) == [0, 1, 2, 3])
    #expect(turns.count == 0 && !turns.isAnyResting)
  }

  /// Against plain lists: each payload is dealt once, in the order of its account, whatever is put back and rests
  /// meanwhile.
  @Test func `whatever is put back, each is dealt once and in its account's order`() {
    let seed = UInt64.random(in: .min ... .max)
    var random = SeededGenerator(seed: seed)
    for _ in 0..<200 {
      var turns = SpoolTurns(largestTogether: Self.large)
      var waiting: [Int: [Int64]] = [:]
      var next: Int64 = 0
      var steps = 0
      while steps < 200 || turns.count > 0 {
        steps += 1
        if steps < 200 {
          for _ in 0..<Int.random(in: 0...5, using: &random) {
            let account = Int.random(in: 0..<8, using: &random)
            let bytes = [1, 5_000, 50_000, 3 * Self.large].randomElement(using: &random) ?? 1
            turns.append(SpoolTurns.Item(number: next, bytes: bytes, account: account))
            waiting[account, default: []].append(next)
            next += 1
          }
        }
        let dealt = turns.deal(entries: Int.random(in: 1...10, using: &random), bytes: 60_000)
        if dealt.isEmpty { turns.wake() }
        #expect(dealt.count == 1 || dealt.allSatisfy { $0.bytes <= Self.large }, "seed \(seed)")
        for item in dealt {
          #expect(waiting[item.account]?.first == item.number, "seed \(seed)")
          waiting[item.account]?.removeFirst()
        }
        guard Int.random(in: 0..<3, using: &random) == 0 else { continue }
        let kept = Array(dealt.dropFirst(Int.random(in: 0...dealt.count, using: &random)))
        for item in kept.reversed() { waiting[item.account]?.insert(item.number, at: 0) }
        turns.putBack(kept, rests: Bool.random(using: &random))
        #expect(turns.count == waiting.values.reduce(0) { $0 + $1.count }, "seed \(seed)")
      }
      #expect(waiting.values.allSatisfy { $0.isEmpty }, "seed \(seed)")
    }
  }
}
