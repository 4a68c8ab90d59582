// Losses of the store are judged together when the mirror is complete again, and not bucket by bucket.

import Testing

@testable import KeyReplica

private typealias Bench = ReplicaBench

@Suite struct FormerBucketsTests {
  /// Every bucket differs, so each one has to be read.
  private func records(_ keys: some Sequence<KeyID>) -> [KeyID: KeyRecord] {
    Dictionary(uniqueKeysWithValues: keys.map { ($0, KeyRecord(state: .active, since: 2, account: "acme")) })
  }

  /// Another list was imported while the node was away, and the mirror has read the first bucket of it in which a key is missing.
  private func halfRead(sealed: Bool = true) throws -> (bench: Bench, missing: Int) {
    var bench = try Bench.synced { $0.bucketsInFlight = 1 }
    bench.give(.disconnected(1, reason: "away"))
    bench.unanswered = []
    let missing = try #require((0..<6).first { bench.keys[$0].bucket(of: 2) == 0 })
    bench.store.begin(
      with: records(bench.keys[..<6].filter { $0 != bench.keys[missing] } + [bench.keys[7]]), sealed: sealed,
      at: bench.now)
    bench.pass(.seconds(2))
    try bench.answer(Bench.isConnect)
    try bench.answer(Bench.isManifest)
    try bench.answer(Bench.isBucket)
    try #require(bench.table.find(bench.keys[missing]) == nil && bench.status.completeness.state == .loading)
    return (bench, missing)
  }

  @Test func `a key that a bucket has lost is admitted until the whole store has been read`() throws {
    var (bench, missing) = try halfRead()
    bench.ask(1, missing)
    #expect(bench.answers[1] == .admit(account: "acme"))
    #expect(bench.status.violations == 0)
    try bench.settle()
    #expect(bench.status.completeness.state == .guarded && bench.status.vanished == 1)
    bench.ask(2, missing)
    #expect(bench.answers[2] == .admit(account: "acme"))
  }

  @Test func `while the store isn't sealed the rest is still to come`() throws {
    var (bench, missing) = try halfRead(sealed: false)
    try bench.settle()
    bench.ask(1, missing)
    #expect(bench.answers[1] == .admit(account: "acme"))
    #expect(bench.status.vanished == 0)
    bench.store.seal(at: bench.now)
    try bench.answer(Bench.isFeed)
    #expect(bench.status.vanished == 1)
    bench.ask(2, missing)
    #expect(bench.answers[2] == .admit(account: "acme"))
  }

  @Test func `it is admitted no longer than it would have been without the read`() throws {
    var (bench, missing) = try halfRead()
    let until = try #require(bench.replica.held(bench.keys[missing])?.until)
    #expect(until < bench.replica.admitUntil ?? until)
    bench.now = until
    bench.ask(1, missing)
    #expect(undecided(bench.answers[1]) == "stale")
  }

  @Test func `a change that ends the key counts at once`() throws {
    var (bench, missing) = try halfRead(sealed: false)
    try bench.settle()
    bench.put(missing, .revoked)
    try bench.answer(Bench.isFeed)
    bench.ask(1, missing)
    #expect(undecided(bench.answers[1]) == "unsealed")
    #expect(bench.status.violations == 0)
  }

  @Test func `a key that comes back before the mirror is complete was never away`() throws {
    var (bench, missing) = try halfRead(sealed: false)
    try bench.settle()
    bench.put(missing)
    bench.store.seal(at: bench.now)
    try bench.answer(Bench.isFeed)
    bench.ask(1, missing)
    #expect(bench.answers[1] == .admit(account: "acme"))
    #expect(bench.status.violations == 0)
  }

  @Test func `of a bucket that is read twice, what either has lost is kept`() throws {
    var (bench, missing) = try halfRead()
    // The whole store is another one again, which lacks one more and has got the first one back.
    let next = try #require((0..<6).last { bench.keys[$0].bucket(of: 2) == 0 && $0 != missing })
    bench.store.begin(with: records(bench.keys[..<6].filter { $0 != bench.keys[next] }), at: bench.now)
    bench.give(.disconnected(2, reason: "away"))
    bench.unanswered = []
    bench.pass(.seconds(2))
    try bench.answer(Bench.isConnect)
    try bench.answer(Bench.isManifest)
    try bench.answer(Bench.isBucket)
    bench.ask(1, missing)
    bench.ask(2, next)
    #expect(bench.answers[1] == .admit(account: "acme") && bench.answers[2] == .admit(account: "acme"))
    try bench.settle()
    #expect(bench.status.violations == 2, "the one that was lost, and the one that was only in the second store")
  }

  @Test func `a restart forgets neither what isn't settled nor what is held back`() throws {
    for isQuarantined in [false, true] {
      var (bench, missing) = try halfRead()
      if isQuarantined {
        bench = try Bench.synced {
          $0.removalShare = 0.1
          $0.removalMinimum = 2
        }
        for key in 0..<4 { bench.put(key, .revoked) }
        try bench.answer(Bench.isFeed)
        #expect(bench.status.quarantined == 4)
        missing = 3
      }
      let saved = try #require(bench.replica.image(source: "here", at: bench.now, wall: 1_000)).encoded()
      let image = try MirrorImage(decoding: saved, source: "here", bucketCount: 2)
      #expect(image.table.find(bench.keys[missing])?.state == .active)

      var limits = Replica.Limits()
      (limits.removalShare, limits.removalMinimum) = (0.1, 2)
      var again = Bench(populated: false)
      again.store = bench.store
      again.now = bench.now
      again.table = image.table
      again.replica = Replica(
        table: image.table, limits: limits, restoredFrom: bench.now, announced: image.announced,
        remembering: image.memory, seed: 1, now: bench.now)
      again.ask(1, missing)
      #expect(again.answers[1] == .admit(account: "acme"))
      again.give(.timePassed)
      try again.settle()
      #expect(again.status.completeness.state == .guarded)
      #expect(again.status.quarantined == (isQuarantined ? 4 : 1))
    }
  }
}
