// The source mark in the mirror's state machine: which keys are refused when the mark is old, and when refusals have to
// be proven against the source.

import Testing

@testable import KeyReplica

@Suite struct SourceProofTests {
  private typealias Bench = ReplicaBench

  /// Redis's time, in microseconds.
  private static let time: UInt64 = 1_763_683_200_000_000

  private func isStale(_ verdict: Verdict?) -> Bool { undecided(verdict) == "source_stale" }

  /// A mirror of a store whose source was marked a second ago, and its keys 0, which is revoked, and 1, which is
  /// suspended.
  private func synced(_ change: (inout Replica.Limits) -> Void = { _ in }) throws -> Bench {
    var bench = try Bench.synced(change)
    bench.put(0, .revoked)
    bench.put(1, .suspended)
    try bench.answer(Bench.isFeed)
    bench.store.source.readAt = Self.time
    bench.store.mark(asOf: Self.time - 1_000_000)
    bench.pass(.milliseconds(500))
    try bench.settle()
    return bench
  }

  // MARK: The maximum age

  @Test func `within its maximum age the mark is in the proof`() throws {
    var bench = try synced()
    bench.store.source.maxAge = .seconds(1)
    bench.ask(1, 7)
    try bench.settle()
    let refused = try #require(refusal(bench.answers[1]))
    #expect(refused.reason == .unknownKey && refused.proof.sourceAsOf == Self.time - 1_000_000)
    #expect(bench.status.objection == nil && bench.status.source?.age == .seconds(1))
  }

  @Test func `beyond it nobody is refused, not even a revoked key, and active keys are admitted`() throws {
    var bench = try synced()
    bench.store.source.maxAge = .milliseconds(999)
    for (number, key) in [7, 0, 1, 2].enumerated() { bench.ask(UInt64(number), key) }
    try bench.settle()
    for number in 0..<3 { #expect(isStale(bench.answers[UInt64(number)])) }
    #expect(bench.answers[3] == .admit(account: "acme"))
    #expect(bench.status.objection?.code == "source_stale" && bench.status.completeness.state == .complete)
    guard case .sourceStale(let words) = bench.notes.last else {
      Issue.record("nobody said so: \(bench.notes)")
      return
    }
    #expect(words.contains("1000 ms old") && words.contains("at most 999 ms"))

    // The log says it once, until the follower is back.
    let notes = bench.notes.count
    bench.pass(.milliseconds(500))
    try bench.settle()
    #expect(bench.notes.count == notes)
    bench.store.mark(asOf: Self.time - 999_000)
    for (number, key) in [7, 0, 1].enumerated() { bench.ask(UInt64(10 + number), key) }
    try bench.settle()
    #expect((UInt64(10)..<13).map { refusal(bench.answers[$0])?.reason } == [.unknownKey, .revokedKey, .suspendedKey])
    #expect(bench.notes.last == .sourceRecent && bench.status.objection == nil)
  }

  @Test func `a store that has lost the maximum age doesn't lift it, and one that says so does`() throws {
    var bench = try synced()
    bench.store.source.maxAge = .milliseconds(999)
    bench.ask(1, 7)
    try bench.settle()
    #expect(isStale(bench.answers[1]))
    // As after FLUSHALL and an import.
    bench.store.source.maxAge = nil
    for (number, key) in [7, 0].enumerated() { bench.ask(UInt64(2 + number), key) }
    try bench.settle()
    #expect(isStale(bench.answers[2]) && isStale(bench.answers[3]))
    #expect(bench.status.source?.maxAge == .milliseconds(999))
    #expect(bench.notes.filter { $0 == .sourceMaxAgeLost(.milliseconds(999)) }.count == 1)
    // The state file remembers it.
    let image = try #require(bench.replica.image(source: "here", at: bench.now, wall: 1_000)).encoded()
    let again = try MirrorImage(
      decoding: image, source: "here", bucketCount: bench.replica.mirror.table.bucketCount)
    #expect(again.memory?.sourceMaxAge == .milliseconds(999))
    let restarted = Replica(
      table: again.table, restoredFrom: bench.now, remembering: again.memory, seed: 1, now: bench.now)
    #expect(restarted.knownMaxAge == .milliseconds(999))

    bench.store.source.saysNoLimit = true
    for (number, key) in [7, 0].enumerated() { bench.ask(UInt64(10 + number), key) }
    try bench.settle()
    #expect((UInt64(10)..<12).map { refusal(bench.answers[$0])?.reason } == [.unknownKey, .revokedKey])
    #expect(bench.replica.knownMaxAge == nil)
  }

  @Test(arguments: [
    SourceMark(maxAge: .seconds(60), readAt: time), SourceMark(moment: time, maxAge: .seconds(60)),
    SourceMark(moment: time + 1, maxAge: .seconds(60), readAt: time), SourceMark(flaw: "no number"),
  ])
  func `a mark that is missing, of unknown age, in the future or unreadable permits no refusal`(mark: SourceMark) throws
  {
    var bench = try synced()
    bench.store.source = mark
    bench.ask(1, 7)
    try bench.settle()
    #expect(bench.answers[1] == .undecided(.sourceStale(mark)))
    #expect(bench.status.objection == .sourceStale(mark))
  }

  @Test func `without a maximum age an old mark, or none, changes nothing`() throws {
    var bench = try synced()
    for (number, mark) in [SourceMark(), SourceMark(moment: 1, version: 1, readAt: Self.time)].enumerated() {
      bench.store.source = mark
      bench.ask(UInt64(number), 7)
      try bench.settle()
      let refused = try #require(refusal(bench.answers[UInt64(number)]))
      #expect(refused.proof.sourceAsOf == mark.moment)
    }
    #expect(bench.status.objection == nil)
  }

  // MARK: Proofs against the source

  private func provingAgainstSource() throws -> Bench {
    try synced {
      $0.proveAgainst = .source
      $0.positionInterval = .seconds(100)
      $0.auditInterval = .seconds(1_000)
    }
  }

  @Test func `a refusal waits for a mark from after the request's arrival`() throws {
    var bench = try synced { $0.proveAgainst = .source }
    for (number, key) in [7, 0, 1].enumerated() { bench.ask(UInt64(number), key) }
    try bench.settle()
    #expect(bench.answers.isEmpty && bench.status.barrierWaiting == 3)
    // The follower's next mark, but from before the request.
    bench.store.source.readAt = Self.time + 60_000
    bench.store.mark(asOf: Self.time - 1)
    bench.pass(.milliseconds(60))
    try bench.settle()
    #expect(bench.answers.isEmpty)
    bench.store.source.readAt = Self.time + 120_000
    bench.store.mark(asOf: Self.time)
    bench.pass(.milliseconds(60))
    try bench.settle()
    #expect((UInt64(0)..<3).map { refusal(bench.answers[$0])?.reason } == [.unknownKey, .revokedKey, .suspendedKey])
    #expect(refusal(bench.answers[0])?.proof.sourceAsOf == Self.time)
    #expect(bench.status.barrierWaiting == 0)
  }

  @Test func `a key that the follower brings while its question waits is admitted`() throws {
    var bench = try synced { $0.proveAgainst = .source }
    bench.ask(1, 7)
    try bench.settle()
    bench.put(7)
    bench.store.source.readAt = Self.time + 60_000
    bench.store.mark(asOf: Self.time + 50_000)
    bench.pass(.milliseconds(60))
    try bench.settle()
    // The position is read, and the change hasn't come yet.
    #expect(bench.answers.isEmpty)
    try bench.answer(Bench.isFeed)
    #expect(bench.answers[1] == .admit(account: "acme"))
  }

  @Test func `an active key doesn't wait for a mark`() throws {
    var bench = try synced { $0.proveAgainst = .source }
    bench.put(7)
    bench.ask(1, 7)
    try bench.answer(Bench.isPosition)
    try bench.answer(Bench.isFeed)
    #expect(bench.answers[1] == .admit(account: "acme"))
  }

  @Test func `if another program changed the store after the mark, the refusal waits`() throws {
    var bench = try synced { $0.proveAgainst = .source }
    bench.ask(1, 2)
    #expect(bench.answers[1] == .admit(account: "acme"))
    // The mark is recent, and of the version before somebody revoked the key by hand.
    bench.ask(2, 7)
    try bench.settle()
    bench.store.source.readAt = Self.time + 60_000
    bench.store.mark(asOf: Self.time + 50_000)
    bench.put(2, .revoked)
    try bench.answer(Bench.isFeed)
    bench.ask(3, 2)
    bench.pass(.milliseconds(60))
    try bench.settle()
    #expect(bench.answers[2] == nil && bench.answers[3] == nil)
    // The follower makes the store equal to the source again.
    bench.put(2)
    bench.store.source.readAt = Self.time + 120_000
    bench.store.mark(asOf: Self.time + 110_000)
    try bench.answer(Bench.isFeed)
    bench.pass(.milliseconds(60))
    try bench.settle()
    #expect(refusal(bench.answers[2])?.reason == .unknownKey && bench.answers[3] == .admit(account: "acme"))
  }

  @Test func `without a mark in time the answer is undecided, and the status says so`() throws {
    var bench = try synced { $0.proveAgainst = .source }
    bench.ask(1, 7)
    try bench.settle()
    for _ in 0..<40 {
      bench.pass(.milliseconds(51))
      bench.store.source.readAt = bench.store.source.readAt.map { $0 + 51_000 }
      try bench.settle()
    }
    #expect(isStale(bench.answers[1]))
    #expect(bench.status.objection?.code == "source_stale" && bench.status.barrierWaiting == 0)
    #expect(bench.notes.contains { if case .sourceStale = $0 { true } else { false } })
    // When the follower is back, refusals are proven again.
    bench.store.source.readAt = Self.time + 5_000_000
    bench.store.mark(asOf: Self.time + 4_900_000)
    bench.pass(.milliseconds(500))
    try bench.settle()
    #expect(bench.status.objection == nil && bench.notes.last == .sourceRecent)
  }

  @Test func `while questions wait for a mark the position is read at intervals, and not without a pause`() throws {
    var bench = try provingAgainstSource()
    let before = bench.status.barrierReads
    for number in 0..<20 as Range<UInt64> { bench.ask(number, 7) }
    try bench.settle()
    for _ in 0..<100 {
      bench.pass(.milliseconds(10))
      try bench.settle()
    }
    // Two for the questions, and twenty within the second.
    #expect((20...24).contains(Int(bench.status.barrierReads - before)))
    bench.pass(.seconds(2))
    try bench.settle()
    #expect((UInt64(0)..<20).allSatisfy { isStale(bench.answers[$0]) })
  }

  @Test func `a reading that is lost answers the questions that wait for a mark`() throws {
    var bench = try synced { $0.proveAgainst = .source }
    bench.ask(1, 7)
    try bench.settle()
    bench.give(.disconnected(bench.replica.session, reason: "gone"))
    #expect(undecided(bench.answers[1]) == "store_away")
    #expect(bench.status.barrierWaiting == 0)
  }

  @Test func `a replicated store's marks are read with a fence`() throws {
    var bench = try synced { $0.proveAgainst = .source }
    bench.store.replicas = 1
    bench.confirming = 1
    bench.pass(.milliseconds(500))
    try bench.settle()
    bench.ask(1, 7)
    try bench.settle()
    bench.store.source.readAt = Self.time + 60_000
    bench.store.mark(asOf: Self.time + 1)
    // The other server doesn't confirm any more that this is the primary.
    bench.confirming = 0
    bench.pass(.milliseconds(60))
    try bench.settle()
    #expect(undecided(bench.answers[1]) == "unfenced")
  }
}
