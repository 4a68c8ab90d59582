// Keys that end by themselves: refused only by Redis's own time, from a read that was sent after the request arrived,
// and soon after that time has come.

import Testing

@testable import KeyReplica

@Suite struct ExpiryTests {
  /// Redis's time when a test begins, in seconds since 1970.
  private static let begin: Int64 = 1_763_683_200
  private static func micros(_ seconds: Int64) -> UInt64 { UInt64(seconds) * 1_000_000 }

  /// A synced node. Its first key ends some seconds after the test's beginning.
  private func node(endingAfter seconds: Int64) throws -> ReplicaBench {
    var bench = ReplicaBench(populated: true)
    bench.store.time = Self.micros(Self.begin)
    bench.put(0, expiresAt: Self.begin + seconds)
    bench.give(.timePassed)
    try bench.settle()
    try #require(bench.status.completeness.state == .complete)
    return bench
  }

  private func isAdmitted(_ bench: ReplicaBench, _ key: Int) -> Bool {
    bench.table.held(bench.keys[key])?.isAdmitted(at: bench.now) ?? false
  }

  @Test func `a key is admitted until Redis's clock reaches its end, and is refused from then on`() throws {
    var bench = try node(endingAfter: 10)
    #expect(isAdmitted(bench, 0) && isAdmitted(bench, 1))
    bench.pass(.milliseconds(9999))
    #expect(isAdmitted(bench, 0))
    bench.pass(.milliseconds(1))
    #expect(!isAdmitted(bench, 0) && isAdmitted(bench, 1))

    bench.store.time = Self.micros(Self.begin + 10)
    bench.ask(1, 0)
    #expect(bench.answers[1] == nil)
    try bench.settle()
    let refused = try #require(refusal(bench.answers[1]))
    #expect(refused.reason == .expiredKey && refused.proof.version == bench.store.current?.version)
  }

  @Test func `before Redis's clock has reached the end, a node whose clock is fast refuses nobody`() throws {
    var bench = try node(endingAfter: 10)
    bench.pass(.seconds(60))
    // In Redis only one second has passed.
    bench.store.time = Self.micros(Self.begin + 1)
    bench.ask(1, 0)
    try bench.settle()
    #expect(bench.answers[1] == .admit(account: "acme"))
    // That read has corrected the node's estimate of Redis's clock.
    #expect(isAdmitted(bench, 0))
  }

  @Test func `a node whose clock stands still is corrected by the next read of the position`() throws {
    var bench = try node(endingAfter: 10)
    bench.store.time = Self.micros(Self.begin + 11)
    #expect(isAdmitted(bench, 0))
    bench.pass(.seconds(1))
    try bench.settle()
    #expect(!isAdmitted(bench, 0))
  }

  @Test func `while the store is away, a key that may have ended is undecided, and others are admitted`() throws {
    var bench = try node(endingAfter: 10)
    bench.give(.disconnected(1, reason: "away"))
    bench.pass(.seconds(11))
    bench.ask(1, 0)
    bench.ask(2, 1)
    #expect(undecided(bench.answers[1]) == "store_away")
    #expect(bench.answers[2] == .admit(account: "acme"))
  }

  @Test func `an answer from before the end doesn't refuse, although the node's clock passes it on the way`() throws {
    var bench = try node(endingAfter: 10)
    bench.pass(.seconds(10))
    bench.store.time = Self.micros(Self.begin + 10) - 1
    try bench.settle()
    bench.now = bench.now + .milliseconds(1)
    bench.ask(1, 0)
    let read = try bench.take(ReplicaBench.isPosition)
    let answer = bench.reply(to: read)
    bench.now = bench.now + .milliseconds(700)
    bench.give(answer)
    #expect(bench.answers[1] == .admit(account: "acme"))
  }

  @Test func `without Redis's time nobody is refused as expired`() throws {
    var bench = try node(endingAfter: 10)
    bench.store.time = nil
    bench.pass(.seconds(11))
    bench.ask(1, 0)
    try bench.settle()
    #expect(undecided(bench.answers[1]) == "expiry_unproven")

    // A node that never read Redis's time admits the key.
    bench = ReplicaBench(populated: true)
    bench.put(0, expiresAt: 1)
    bench.give(.timePassed)
    try bench.settle()
    bench.pass(.seconds(1))
    try bench.settle()
    bench.ask(1, 0)
    #expect(isAdmitted(bench, 0) && bench.answers[1] == .admit(account: "acme"))
  }

  @Test func `a change of the end counts at once`() throws {
    var bench = try node(endingAfter: 10)
    bench.pass(.seconds(11))
    bench.store.time = Self.micros(Self.begin + 11)
    try bench.settle()
    #expect(!isAdmitted(bench, 0))
    bench.put(0, expiresAt: Self.begin + 100)
    try bench.follow()
    #expect(isAdmitted(bench, 0))
    bench.put(0, expiresAt: Self.begin)
    try bench.follow()
    #expect(!isAdmitted(bench, 0))
    bench.put(0)
    try bench.follow()
    #expect(isAdmitted(bench, 0))
  }

  @Test func `a revoked key with an end is refused as revoked`() throws {
    var bench = try node(endingAfter: 10)
    bench.put(0, .revoked, expiresAt: Self.begin + 10)
    try bench.follow()
    bench.store.time = Self.micros(Self.begin + 20)
    bench.ask(1, 0)
    try bench.settle()
    #expect(refusal(bench.answers[1])?.reason == .revokedKey)
  }

  @Test func `an end after the year 2105 is none in the mirror, and the first second of 1970 is one`() {
    #expect(KeyExpiry(nil) == .none && KeyExpiry(KeyRecord.expiryLimit) == .none)
    #expect(KeyExpiry(Int64(UInt32.max)).seconds == .max && KeyExpiry(Int64(UInt32.max) + 1) == .none)
    #expect(KeyExpiry(0).seconds == 1 && KeyExpiry(7).isReached(at: 7_000_000))
    #expect(!KeyExpiry(7).isReached(at: 6_999_999) && !KeyExpiry.none.isReached(at: .max))
  }

  @Test func `an end needs no memory`() { #expect(MemoryLayout<BucketTable.Entry>.stride == 24) }
}
