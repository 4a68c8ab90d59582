import Testing

@testable import KeyReplica

@Suite struct RecentKeysTests {
  private static func keys(_ numbers: Range<Int>) -> [KeyID] { numbers.map { KeyID(secret: "key \($0)".utf8) } }

  @Test func `a key counts once, however often it is noted`() {
    let recent = RecentKeys()
    #expect(recent.count == 0)
    for _ in 0..<3 { for key in Self.keys(0..<12) { recent.note(key) } }
    #expect(recent.count == 12)
  }

  @Test(arguments: [100, 1_000, 10_000, 100_000, 300_000])
  func `many keys are counted within one in fifty`(number: Int) {
    let recent = RecentKeys()
    for key in Self.keys(0..<number) { recent.note(key) }
    #expect(abs(recent.count - number) <= number / 50 + 1, "\(recent.count) of \(number)")
  }

  @Test func `with no bit left the number is at least what can be counted`() {
    #expect(RecentKeys.estimate(marked: RecentKeys.bitCount) > 700_000)
    #expect(RecentKeys.estimate(marked: 0) == 0)
    var last = -1
    for marked in 0...RecentKeys.bitCount {
      let estimate = RecentKeys.estimate(marked: marked)
      #expect(estimate >= last && estimate >= marked)
      last = estimate
    }
  }

  @Test func `a key is forgotten after two turns, unless it was noted again`() {
    let recent = RecentKeys()
    for key in Self.keys(0..<10) { recent.note(key) }
    recent.turn()
    #expect(recent.count == 10)
    for key in Self.keys(5..<15) { recent.note(key) }
    #expect(recent.count == 15)
    recent.turn()
    #expect(recent.count == 10)
    recent.turn()
    #expect(recent.count == 0)
  }

  @Test func `keys that many threads note at once are all counted`() async {
    let recent = RecentKeys()
    await withTaskGroup(of: Void.self) { group in
      for lane in 0..<8 {
        group.addTask { for key in Self.keys(lane * 250..<lane * 250 + 500) { recent.note(key) } }
      }
    }
    #expect(abs(recent.count - 2_250) <= 45, "\(recent.count)")
  }
}
