import Testing

@testable import KeyReplica

@Suite struct FenceTests {
  @Test(arguments: [(nil, 0), (0, 0), (1, 1), (2, 1), (3, 2), (4, 2), (5, 3)])
  func `with the primary, those that must confirm are a majority of the servers`(replicas: Int?, needed: Int) {
    #expect(Fence.needed(of: replicas) == needed)
    if let replicas { #expect((1 + needed) * 2 > 1 + replicas) }
  }

  /// A bench that is in sync with a store with replicas, of which this number confirm.
  private func bench(
    replicas: Int?, confirming: Int, signs: ReplicaSigns = FenceTests.signs(following: 1)
  ) throws -> ReplicaBench {
    var bench = ReplicaBench()
    bench.store.replicas = replicas
    bench.signs = signs
    bench.confirming = confirming
    bench.give(.timePassed)
    try bench.settle()
    return bench
  }

  private static func signs(
    following: Int? = 0, recorded: Int = 0, hasFollowed: Bool? = false, isWatched: Bool = false
  ) -> ReplicaSigns {
    ReplicaSigns(following: following, recorded: recorded, hasFollowed: hasFollowed, isWatched: isWatched)
  }

  private func recorded(_ commands: [Replica.Command]) -> [Int] {
    commands.compactMap { if case .recordReplicas(_, let count) = $0 { count } else { nil } }
  }

  private func fencedBy(_ command: Replica.Command) -> Int? {
    if case .readPosition(_, _, let fencedBy) = command { fencedBy } else { nil }
  }

  @Test func `a refusal rests on a read that enough replicas have borne out`() throws {
    var bench = try bench(replicas: 2, confirming: 1)
    bench.ask(1, 7)
    #expect(bench.unanswered.contains { fencedBy($0) == 1 })
    try bench.settle()
    #expect(refusal(bench.answers[1])?.reason == .unknownKey)
    #expect(bench.status.objection == nil)
  }

  @Test func `a primary that nobody bears out proves nothing, and admits as before`() throws {
    var bench = try bench(replicas: 1, confirming: 0)
    bench.ask(1, 7)
    try bench.settle()
    #expect(undecided(bench.answers[1]) == "unfenced")
    #expect(bench.status.objection?.code == "unfenced" && bench.status.completeness.state == .complete)
    // Nobody needs to ask the store for that again.
    bench.ask(2, 7)
    #expect(undecided(bench.answers[2]) == "unfenced")
    bench.ask(3, 0)
    #expect(bench.answers[3] == .admit(account: "acme"))
    let known = try #require(bench.replica.admitUntil)
    bench.pass(.seconds(1))
    try bench.settle()
    #expect(try #require(bench.replica.admitUntil) > known, "a store with a replica down would stop admitting")
    #expect(bench.notes.count { if case .unfenced = $0 { true } else { false } } == 1)
  }

  @Test func `as soon as enough confirm again, refusals are proven again`() throws {
    var bench = try bench(replicas: 1, confirming: 0)
    bench.ask(1, 7)
    try bench.settle()
    #expect(bench.status.objection != nil)
    bench.confirming = 1
    bench.pass(.seconds(1))
    // Although nobody waits for it.
    #expect(bench.unanswered.contains { fencedBy($0) == 1 })
    try bench.settle()
    #expect(bench.status.objection == nil && bench.notes.last == .fenced)
    bench.ask(2, 7)
    try bench.settle()
    #expect(refusal(bench.answers[2])?.reason == .unknownKey)
  }

  @Test func `a read that nobody waits for makes no write`() throws {
    var bench = try bench(replicas: 2, confirming: 2)
    bench.pass(.seconds(1))
    #expect(bench.unanswered.contains { fencedBy($0) == 0 })
    try bench.settle()
    #expect(bench.status.objection == nil)
  }

  @Test func `where more replicas are declared than was known, the read is made again`() throws {
    var bench = try bench(replicas: 0, confirming: 1)
    bench.ask(1, 7)
    bench.store.replicas = 1
    try bench.answer { fencedBy($0) == 0 }
    #expect(bench.answers[1] == nil)
    try bench.answer { fencedBy($0) == 1 }
    #expect(refusal(bench.answers[1])?.reason == .unknownKey)
  }

  @Test func `replicas that nobody declared are in the way of refusing, until somebody does`() throws {
    var bench = try bench(replicas: nil, confirming: 1)
    bench.ask(1, 7)
    try bench.settle()
    #expect(undecided(bench.answers[1]) == "unfenced")
    bench.store.replicas = 1
    bench.pass(.seconds(1))
    try bench.settle()
    bench.pass(.seconds(1))
    try bench.settle()
    bench.ask(2, 7)
    try bench.settle()
    #expect(refusal(bench.answers[2])?.reason == .unknownKey)
  }

  @Test func `a Redis that shows no sign of others is taken to be alone`() throws {
    var bench = try bench(replicas: nil, confirming: 0, signs: .none)
    bench.ask(1, 7)
    try bench.settle()
    #expect(refusal(bench.answers[1])?.reason == .unknownKey)
    bench.pass(.seconds(1))
    #expect(recorded(bench.unanswered) == [])
  }

  @Test(arguments: [
    (signs(following: 2, recorded: 2), "2 replicas follow"), (signs(recorded: 1), "1 replica followed this"),
    (signs(following: 1, hasFollowed: true), "was a replica"), (signs(isWatched: true), "no replica follows"),
    (signs(hasFollowed: nil), "INFO can't be used"), (signs(following: nil, hasFollowed: nil), "neither ROLE nor INFO"),
    (signs(following: nil), "neither ROLE nor INFO"), (signs(following: 1, hasFollowed: nil), "1 replica follows"),
  ])
  func `each sign of others is in the way of refusing, and what to do is said`(
    signs: ReplicaSigns, text: String
  ) throws {
    var bench = try bench(replicas: nil, confirming: 1, signs: signs)
    bench.ask(1, 7)
    try bench.settle()
    #expect(undecided(bench.answers[1]) == "unfenced")
    guard case .unfenced(let why) = bench.status.objection else {
      Issue.record("expected an objection to refusing")
      return
    }
    #expect(why.contains(text) && why.contains("key-publisher replicas N"), "\(why)")
    // An operator's number is the last word.
    bench.store.replicas = 0
    bench.pass(.seconds(1))
    try bench.settle()
    #expect(bench.status.objection == nil)
  }

  @Test
  func `a replica that was seen is remembered after it has left, until the store says so, whatever is cut in between`()
    throws
  {
    var bench = try bench(replicas: nil, confirming: 0, signs: .none)
    bench.signs.following = 2
    bench.pass(.seconds(1))
    try bench.answer(ReplicaBench.isPosition)
    #expect(recorded(bench.unanswered) == [2])
    // It leaves, and so does the connection before that was written.
    bench.signs.following = 0
    bench.unanswered = []
    bench.give(.disconnected(1, reason: "cut"))
    bench.pass(.seconds(1))
    try bench.settle()
    bench.ask(1, 7)
    try bench.answer(ReplicaBench.isPosition)
    #expect(undecided(bench.answers[1]) == "unfenced")
    #expect(recorded(bench.unanswered) == [2])
    bench.signs.recorded = 2
    bench.unanswered.removeAll { !ReplicaBench.isFeed($0) }
    bench.pass(.seconds(1))
    try bench.answer(ReplicaBench.isPosition)
    #expect(recorded(bench.unanswered) == [])
    // Another history is another matter.
    bench.signs.recorded = 0
    bench.pass(.seconds(1))
    try bench.settle()
    #expect(bench.status.objection == nil)
  }

  @Test func `another server is asked anew`() throws {
    var bench = try bench(replicas: 1, confirming: 0)
    bench.ask(1, 7)
    try bench.settle()
    bench.confirming = 1
    bench.give(.disconnected(1, reason: "cut"))
    bench.pass(.seconds(1))
    try bench.settle()
    #expect(bench.status.objection == nil)
    bench.ask(2, 7)
    try bench.settle()
    #expect(refusal(bench.answers[2])?.reason == .unknownKey)
  }

  @Test func `what stood in the way of the write is said`() {
    let fence = Fence(confirmations: 0, signs: Self.signs(following: 1), failure: "NOREPLICAS not enough good replicas")
    #expect(fence.objection(declared: 1)?.contains("NOREPLICAS") == true)
    #expect(fence.objection(declared: 0) == nil)
    #expect(Fence.single.objection(declared: nil) == nil)
  }
}
