import Testing

@testable import KeyReplica

@Suite struct AdmissionTests {
  private let key = KeyID(secret: "a key".utf8)
  private let heard = Instant(nanoseconds: 0)

  private func table(_ state: KeyState = .active) -> KeyTable {
    let table = KeyTable(bucketCount: 2)
    table.put(key, KeyRecord(state: state, since: 1, account: "acme"))
    return table
  }

  private func admits(_ table: KeyTable, at now: Instant) -> Bool { table.held(key)?.isAdmitted(at: now) ?? false }

  @Test func `nobody is admitted by a table for which the store was never heard`() {
    #expect(table().held(key)?.until == nil)
    #expect(!admits(table(), at: heard))
  }

  @Test(arguments: [KeyState.suspended, .revoked]) func `a key that isn't active isn't held`(_ state: KeyState) {
    let table = table(state)
    table.setAdmitDeadline(heard + .seconds(60))
    #expect(table.held(key) == nil)
  }

  @Test func `a key is admitted until the mirror's deadline, and not at it`() {
    let table = table()
    let deadline = heard + .seconds(60)
    table.setAdmitDeadline(deadline)
    #expect(admits(table, at: heard) && admits(table, at: deadline + .nanoseconds(-1)))
    #expect(!admits(table, at: deadline))
  }

  @Test func `of the deadlines of a bucket and of the mirror the earlier one counts`() {
    let table = table()
    let bucket = key.bucket(of: 2)
    for (whole, held) in [(60, 30), (30, 60)] {
      table.setAdmitDeadline(heard + .seconds(whole))
      table.setAdmitDeadline(ofBucket: bucket, to: heard + .seconds(held))
      #expect(admits(table, at: heard + .seconds(29)))
      #expect(!admits(table, at: heard + .seconds(30)))
    }
    table.setAdmitDeadline(ofBucket: bucket, to: nil)
    table.setAdmitDeadline(ofBucket: 1 - bucket, to: heard)
    #expect(admits(table, at: heard + .seconds(29)), "another bucket's deadline counts")
  }

  @Test func `a listener and the state machine say the same of a key, however old the mirror is`() throws {
    var bench = try ReplicaBench.synced { $0.admitAge = .seconds(60) }
    bench.give(.disconnected(1, reason: "cut"))
    var admitted = 0
    for number in 1...9 as ClosedRange<UInt64> {
      bench.now = bench.now + .seconds(10)
      bench.ask(number, 0)
      let byTable = try #require(bench.table.held(bench.keys[0])).isAdmitted(at: bench.now)
      #expect(byTable == (bench.answers[number] == .admit(account: "acme")))
      #expect(byTable != (undecided(bench.answers[number]) == "stale"))
      if byTable { admitted += 1 }
    }
    #expect(admitted == 5)
  }
}
