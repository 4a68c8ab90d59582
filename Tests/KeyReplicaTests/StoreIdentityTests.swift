// Which store a node mirrors, and what it does if its address leads to another one.

import Testing

@testable import KeyReplica

private typealias Bench = ReplicaBench

@Suite struct StoreIdentityTests {
  private static let production = StoreIdentity(id: "77ab", name: "production")
  private static let staging = StoreIdentity(id: "88cd", name: "staging")

  /// A node that starts with a saved mirror of `production`, at the address of a store.
  private func restarted(
    at store: StoreIdentity, named name: String? = nil, savedFrom saved: StoreIdentity = Self.production
  ) throws -> Bench {
    var first = Bench(populated: false)
    first.store.identity = saved
    first.populate()
    first.give(.timePassed)
    try first.settle()
    let bytes = try #require(first.replica.image(source: "there", at: first.now, wall: 1_000)).encoded()
    // Another address doesn't make it another store.
    let image = try MirrorImage(decoding: bytes, source: "elsewhere", bucketCount: 2)
    #expect(image.memory?.store == saved)

    var bench = Bench(populated: false)
    bench.store.identity = store
    // Keys of its own: none of the saved mirror's.
    bench.store.begin(
      with: [bench.keys[7]: KeyRecord(state: .active, since: 1, account: "tester")], at: bench.now)
    bench.table = image.table
    bench.replica = Replica(
      table: image.table, limits: bench.replica.limits, restoredFrom: bench.now, announced: image.announced,
      storeName: name, remembering: image.memory, seed: 1, now: bench.now)
    bench.give(.timePassed)
    try bench.settle()
    return bench
  }

  @Test func `at another store's address nobody is refused, known keys are admitted, and none of the other store's`()
    throws
  {
    var bench = try restarted(at: Self.staging)
    bench.ask(1, 0)
    #expect(bench.answers[1] == .admit(account: "acme"))
    for key in [6, 7] {
      bench.ask(UInt64(key), key)
      #expect(undecided(bench.answers[UInt64(key)]) == "wrong_store")
    }
    let wrong = try #require(bench.status.wrongStore)
    #expect(wrong.expected.contains("production") && wrong.met.contains("staging"))
    #expect(wrong.command == "key-publisher adopt 77ab")
    #expect(bench.status.store == Self.production)
    #expect(bench.notes.contains(.trouble("\(wrong)")))
    // This holds for any time, except that the mirror ages.
    for _ in 0..<20 {
      bench.pass(.seconds(2))
      try bench.settle()
    }
    #expect(!bench.unanswered.contains(where: Bench.isBucket))
    #expect(bench.status.completeness.verified == 0 && bench.status.objection?.code == "wrong_store")
    bench.ask(8, 0)
    #expect(bench.answers[8] == .admit(account: "acme"))
  }

  @Test(arguments: ["77ab", "production"])
  func `a store that has replaced the other one is followed, and what it lacks is held`(word: String) throws {
    var bench = try restarted(at: Self.staging)
    bench.store.adopted = [word]
    bench.pass(.seconds(2))
    try bench.settle()
    #expect(bench.status.wrongStore == nil && bench.status.store == Self.staging)
    #expect(bench.notes.contains(.mirrors(Self.staging)))
    #expect(bench.status.completeness.state == .guarded && bench.status.vanished == 6)
    bench.ask(1, 0)
    bench.ask(2, 7)
    #expect(bench.answers[1] == .admit(account: "acme") && bench.answers[2] == .admit(account: "tester"))
    bench.ask(3, 6)
    try bench.settle()
    #expect(refusal(bench.answers[3])?.reason == .unknownKey)
    // State files that are saved from here on are mirrors of the new store.
    let image = try #require(bench.replica.image(source: "there", at: bench.now, wall: 1_000))
    #expect(image.memory?.store == Self.staging)
  }

  @Test func `the right store goes on where it was when it is back`() throws {
    var bench = try restarted(at: Self.staging)
    bench.store.identity = Self.production
    bench.populate()
    bench.pass(.seconds(2))
    try bench.settle()
    #expect(bench.status.completeness.state == .complete && bench.status.wrongStore == nil)
    bench.ask(1, 7)
    try bench.settle()
    #expect(refusal(bench.answers[1])?.reason == .unknownKey)
  }

  @Test func `another store that takes the place of the mirrored one isn't followed`() throws {
    var bench = try Bench.synced()
    bench.store.identity = Self.staging
    bench.populate(account: "tester")
    bench.pass(.milliseconds(500))
    try bench.settle()
    #expect(bench.status.wrongStore?.met.contains("staging") == true)
    bench.ask(1, 0)
    bench.ask(2, 7)
    #expect(bench.answers[1] == .admit(account: "acme"))
    #expect(undecided(bench.answers[2]) == "wrong_store")
  }

  @Test func `a node that was told a name admits and refuses nobody by a store of another name`() throws {
    for store in [Self.staging, StoreIdentity(id: "99ef")] {
      var bench = Bench(populated: false)
      bench.store.identity = store
      bench.populate()
      bench.replica = Replica(
        table: bench.table, limits: bench.replica.limits, storeName: "production", seed: 1, now: bench.now)
      bench.give(.timePassed)
      try bench.settle()
      for key in [0, 7] {
        bench.ask(UInt64(key), key)
        #expect(undecided(bench.answers[UInt64(key)]) == "wrong_store")
      }
      let wrong = try #require(bench.status.wrongStore)
      #expect(
        wrong.command
          == (store.name == nil ? "key-publisher create --name production" : "key-publisher adopt production"))
      bench.store.identity.name = "production"
      bench.pass(.seconds(2))
      try bench.settle()
      #expect(bench.status.completeness.state == .complete && bench.status.wrongStore == nil)
    }
  }

  @Test func `a node that knows no store trusts the first one that is whole, and says so`() throws {
    var bench = Bench(populated: false)
    bench.populate(sealed: false)
    bench.give(.timePassed)
    try bench.settle()
    // This store has proven nothing yet: somebody may be setting it up.
    bench.store.identity = Self.production
    bench.populate()
    bench.pass(.milliseconds(500))
    try bench.settle()
    #expect(bench.status.completeness.state == .complete && bench.status.store == Self.production)
    #expect(bench.notes.filter { if case .mirrors = $0 { true } else { false } } == [.mirrors(Self.production)])
  }

  @Test func `a saved mirror that was never compared keeps what it remembers`() throws {
    let bench = try restarted(at: Self.staging)
    let image = try #require(bench.replica.image(source: "there", at: bench.now, wall: 1_000))
    #expect(image.memory?.store == Self.production && image.memory?.epoch == "epoch 1")
  }

  @Test func `a backup that was restored while the node was away is noticed, and its losses are held`() throws {
    var first = try Bench.synced()
    first.put(1, .revoked)
    first.put(7)
    try first.answer(Bench.isFeed)
    let bytes = try #require(first.replica.image(source: "s", at: first.now, wall: 1_000)).encoded()
    let image = try MirrorImage(decoding: bytes, source: "s", bucketCount: 2)
    first.store.rewind(by: 2, at: first.now)

    var bench = Bench(populated: false)
    bench.store = first.store
    bench.table = image.table
    bench.replica = Replica(
      table: image.table, limits: first.replica.limits, restoredFrom: bench.now, announced: image.announced,
      remembering: image.memory, seed: 1, now: bench.now)
    bench.give(.timePassed)
    try bench.settle()
    #expect(bench.status.vanished == 1 && bench.status.revived == 1)
    #expect(bench.status.completeness.state == .guarded)
    bench.ask(1, 7)
    #expect(bench.answers[1] == .admit(account: "acme"))
  }

  @Test func `names are words, and no IDs`() {
    for name in ["production", "eu-1.prod_2", String(repeating: "x", count: 64)] {
      #expect(StoreIdentity.objection(toName: name) == nil)
    }
    let id = String(repeating: "0a", count: 16)
    #expect(StoreIdentity.isID(id))
    for name in ["", "two words", "é", String(repeating: "x", count: 65), id, "a\nb"] {
      #expect(StoreIdentity.objection(toName: name) != nil)
    }
  }
}
