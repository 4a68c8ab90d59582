import Testing

@testable import KeyReplica

@Suite struct RemovalGuardTests {
  private func removal(_ number: Int, version: UInt64 = 1) -> Removal {
    Removal(
      key: KeyPrefix(UInt64(number), 0), held: HeldBackKey(account: "acme", expiry: .none), bucket: 0, version: version,
      vanished: false)
  }

  private func at(_ seconds: Int) -> Instant { Instant(nanoseconds: Int64(seconds) * 1_000_000_000) }

  @Test func `removals that are older than the window don't count`() {
    var guarding = RemovalGuard(share: 0, minimum: 3, window: .seconds(10), announced: nil)
    for second in 0..<100 {
      let isTooMany = guarding.note(removal(second), active: 1000, now: at(second * 5))
      #expect(!isTooMany)
    }
    #expect(guarding.quarantined.isEmpty)
  }

  @Test func `the one that is too many brings back all of the window, and no older one`() {
    var guarding = RemovalGuard(share: 0, minimum: 3, window: .seconds(10), announced: nil)
    let first = guarding.note(removal(0), active: 1000, now: at(0))
    #expect(!first)
    for number in 1...3 {
      let isTooMany = guarding.note(removal(number), active: 1000, now: at(15))
      #expect(!isTooMany)
    }
    let isTooMany = guarding.note(removal(4), active: 1000, now: at(16))
    #expect(isTooMany)
    #expect(Set(guarding.quarantined.keys.map(\.id0)) == [1, 2, 3, 4])
  }

  @Test func `a key that came back and goes again counts once, from when it went last`() {
    var guarding = RemovalGuard(share: 0, minimum: 2, window: .seconds(10), announced: nil)
    _ = guarding.note(removal(1), active: 1000, now: at(0))
    guarding.returned(removal(1).key)
    _ = guarding.note(removal(1), active: 1000, now: at(8))
    _ = guarding.note(removal(2), active: 1000, now: at(9))
    #expect(guarding.quarantined.isEmpty)
    // The first time is out of the window by now, the second isn't.
    let isTooMany = guarding.note(removal(3), active: 1000, now: at(12))
    #expect(isTooMany)
    #expect(guarding.quarantined.count == 3)
  }

  @Test func `a hundred thousand removals and returns cost no more than their number`() {
    // With a pass over all recent ones for each this would be ten thousand million steps: it wouldn't end.
    let count = 100_000
    var guarding = RemovalGuard(share: 0, minimum: count, window: .seconds(600), announced: nil)
    for number in 0..<count { _ = guarding.note(removal(number), active: 1_000_000, now: at(number / 1000)) }
    for number in 0..<count { guarding.returned(removal(number).key) }
    let isTooMany = guarding.note(removal(0), active: 1_000_000, now: at(200))
    #expect(!isTooMany)
    #expect(guarding.quarantined.isEmpty)
  }
}
