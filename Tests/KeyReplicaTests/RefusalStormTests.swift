// The refusal valve as a part of the mirror's state machine: the verdicts that it changes, and the
// verdicts that it doesn't.

import Testing

@testable import KeyReplica

@Suite struct RefusalStormTests {
  private typealias Bench = ReplicaBench

  /// Asks for keys that nobody has, and returns the verdicts.
  private func show(_ numbers: Range<UInt64>, to bench: inout Bench) throws -> [Verdict?] {
    for number in numbers {
      bench.give(.asked(Question(number: 1_000 + number, key: KeyID(secret: "nobody's \(number)".utf8))))
    }
    try bench.settle()
    let verdicts = numbers.map { bench.answers[1_000 + $0] }
    for number in numbers { bench.answers[1_000 + number] = nil }
    return verdicts
  }

  private func isRefused(_ verdict: Verdict?) -> Bool { refusal(verdict)?.reason == .unknownKey }

  @Test func `when most keys are unknown, unknown keys are undecided, and the storm is noted once`() throws {
    var bench = try Bench.synced()
    let first = try show(0..<9, to: &bench)
    #expect(first.allSatisfy(isRefused))
    let verdicts = try show(0..<40, to: &bench)
    #expect(verdicts.prefix(9).allSatisfy(isRefused))
    #expect(verdicts.dropFirst(9).allSatisfy { undecided($0) == "refusal_storm" })
    let again = try show(0..<9, to: &bench)
    #expect(again.allSatisfy { undecided($0) == "refusal_storm" })
    #expect(bench.notes.filter { $0 == .refusalStorm(unknown: 10, admitted: 0) }.count == 1)
    #expect(bench.status.recentKeys == RecentKeyCounts(unknown: 40, admitted: 0, confirmed: 0, isStorm: true))
    #expect(bench.status.objection == nil && bench.status.completeness.state == .complete)
  }

  @Test func `in a storm active keys are admitted, revoked and suspended ones refused, new ones admitted`() throws {
    var bench = try Bench.synced()
    bench.put(0, .revoked)
    bench.put(1, .suspended)
    try bench.answer(Bench.isFeed)
    _ = try show(0..<40, to: &bench)
    for (number, key) in [0, 1, 2, 6].enumerated() { bench.ask(UInt64(number), key) }
    try bench.settle()
    #expect(refusal(bench.answers[0])?.reason == .revokedKey)
    #expect(refusal(bench.answers[1])?.reason == .suspendedKey)
    #expect(bench.answers[2] == .admit(account: "acme"))
    #expect(undecided(bench.answers[3]) == "refusal_storm")
    // Key 6 is put while its proof waits. The read of the store for the proof shows that.
    bench.ask(9, 6)
    bench.put(6)
    try bench.answer(Bench.isPosition)
    try bench.answer(Bench.isFeed)
    #expect(bench.answers[9] == .admit(account: "acme"))
  }

  @Test func `keys that are revoked are neither unknown nor admitted, however many they are`() throws {
    var bench = try Bench.synced()
    for key in 0..<6 { bench.put(key, .revoked, isAgreed: true) }
    try bench.answer(Bench.isFeed)
    for number in 0..<600 as Range<UInt64> { bench.ask(number, Int(number % 6)) }
    try bench.settle()
    #expect((0..<600 as Range<UInt64>).allSatisfy { refusal(bench.answers[$0])?.reason == .revokedKey })
    #expect(bench.status.recentKeys == RecentKeyCounts())
  }

  @Test func `keys that the table admits and keys that the machine admits count alike`() throws {
    var bench = try Bench.synced { $0.stormKeys = 2 }
    bench.ask(1, 0)
    for key in bench.keys[1..<4] { bench.table.recentlyAdmitted.note(key) }
    #expect(bench.status.recentKeys.admitted == 4)
    let fewer = try show(0..<4, to: &bench)
    #expect(fewer.allSatisfy(isRefused))
    let oneMore = try show(4..<5, to: &bench)
    #expect(undecided(oneMore[0]) == "refusal_storm")
  }

  @Test func `keys about which nothing can be proven aren't counted`() throws {
    var bench = try Bench.synced()
    bench.give(.disconnected(1, reason: "cut"))
    let away = try show(0..<40, to: &bench)
    #expect(away.allSatisfy { undecided($0) == "store_away" })
    #expect(bench.status.recentKeys == RecentKeyCounts())
  }

  @Test func `a storm ends when a window has passed, and its end is noted`() throws {
    var bench = try Bench.synced()
    _ = try show(0..<40, to: &bench)
    for _ in 0..<9 {
      bench.pass(.seconds(10))
      try bench.settle()
    }
    #expect(bench.notes.filter { $0 == .refusalStormOver }.count == 1)
    #expect(!bench.status.recentKeys.isStorm)
    let after = try show(0..<9, to: &bench)
    #expect(after.allSatisfy(isRefused))
  }

  @Test(arguments: [false, true])
  func `a confirmation arrives with the next position, or with the manifest after a reconnect`(
    reconnects: Bool
  ) throws {
    var bench = try Bench.synced()
    _ = try show(0..<40, to: &bench)
    bench.store.confirmedUnknown = 20
    if reconnects {
      bench.give(.disconnected(1, reason: "cut"))
      bench.pass(.seconds(1))
      try bench.settle()
    } else {
      bench.pass(.milliseconds(500))
      try bench.settle()
    }
    #expect(bench.status.recentKeys == RecentKeyCounts(unknown: 40, admitted: 0, confirmed: 20, isStorm: false))
    #expect(bench.notes.contains(.refusalStormOver))
    let confirmed = try show(0..<40, to: &bench)
    #expect(confirmed.allSatisfy(isRefused))
    let oneMore = try show(40..<41, to: &bench)
    #expect(undecided(oneMore[0]) == "refusal_storm")
  }

  @Test func `a sealed store without keys is no exception, until an operator confirms unknown keys`() throws {
    var bench = Bench(populated: false)
    bench.store.begin(with: [:], at: bench.now)
    bench.give(.timePassed)
    try bench.settle()
    let verdicts = try show(0..<20, to: &bench)
    #expect(verdicts.prefix(9).allSatisfy(isRefused))
    #expect(verdicts.dropFirst(9).allSatisfy { undecided($0) == "refusal_storm" })
    bench.store.confirmedUnknown = 20
    bench.pass(.milliseconds(500))
    try bench.settle()
    let confirmed = try show(0..<40, to: &bench)
    #expect(confirmed.allSatisfy(isRefused))
  }
}
