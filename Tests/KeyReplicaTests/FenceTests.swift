import Testing

@testable import KeyReplica

@Suite struct FenceTests {
  @Test(arguments: [(nil, 0), (0, 0), (1, 1), (2, 1), (3, 2), (4, 2), (5, 3)])
  func `with the primary, those that must confirm are a majority of the servers`(replicas: Int?, needed: Int) {
    #expect(Fence.needed(of: replicas) == needed)
    if let replicas { #expect((1 + needed) * 2 > 1 + replicas) }
  }

  /// Synced with a store that has replicas, of which so many confirm.
  private func bench(replicas: Int?, confirming: Int, hasReplicas: Bool = true) throws -> ReplicaBench {
    var bench = ReplicaBench()
    bench.store.replicas = replicas
    bench.hasReplicas = hasReplicas
    bench.confirming = confirming
    bench.give(.timePassed)
    try bench.settle()
    return bench
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
    #expect(bench.status.objection?.code == "unfenced" && bench.status.completeness == .complete)
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
    let fence = Fence(confirmations: 0, hasReplicas: true, failure: "NOREPLICAS not enough good replicas")
    #expect(fence.objection(declared: 1)?.contains("NOREPLICAS") == true)
    #expect(fence.objection(declared: 0) == nil)
    #expect(Fence.single.objection(declared: nil) == nil)
  }
}
