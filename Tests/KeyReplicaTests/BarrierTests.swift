import Testing

@testable import KeyReplica

@Suite struct BarrierTests {
  private func position(_ version: UInt64) -> StorePosition {
    StorePosition(
      epoch: "epoch 1", version: version, count: 0, digest: .empty, sealed: true, announced: 0, confirmed: 0,
      replicas: nil)
  }

  private func position(_ version: UInt64, mark: UInt64?, of marked: UInt64? = nil, at time: UInt64) -> StorePosition {
    var position = position(version)
    position.source = SourceMark(moment: mark, version: mark.map { _ in marked ?? version }, readAt: time)
    return position
  }

  private func question(_ number: UInt64) -> Question { Question(number: number, key: KeyID(secret: "k".utf8)) }
  private let start = Instant(nanoseconds: 0)

  @Test func `all that waits shares one read, and what comes after it was sent waits for the next`() throws {
    var barrier = Barrier(interval: .zero, now: start)
    #expect(!barrier.wantsRead(at: start))
    for number in 1...3 as ClosedRange<UInt64> { barrier.add(question(number), deadline: start + .seconds(1)) }
    #expect(barrier.wantsRead(at: start))
    barrier.sent(at: start, applied: 5)
    #expect(!barrier.wantsRead(at: start))
    barrier.add(question(4), deadline: start + .seconds(1))
    #expect(!barrier.wantsRead(at: start))
    barrier.answered(position(5))
    #expect(barrier.wantsRead(at: start))
    #expect(barrier.reached(5).map(\.question.number) == [1, 2, 3])
    #expect(barrier.count == 1)
    #expect(barrier.readsSent == 1)
  }

  @Test func `an answered read's questions wait for its version`() {
    var barrier = Barrier(interval: .zero, now: start)
    barrier.add(question(1), deadline: start + .seconds(1))
    barrier.sent(at: start, applied: 5)
    barrier.answered(position(9))
    #expect(barrier.reached(8).isEmpty)
    #expect(barrier.reached(10).isEmpty)
    let ready = barrier.reached(9)
    #expect(ready.map(\.question.number) == [1])
    #expect(ready.first?.read.readSentAt == start)
    #expect(barrier.reached(9).isEmpty)
  }

  @Test func `the questions of a read that was overtaken go first with the next one`() {
    var barrier = Barrier(interval: .zero, now: start)
    barrier.add(question(1), deadline: start + .seconds(1))
    barrier.sent(at: start, applied: 5)
    barrier.add(question(2), deadline: start + .seconds(2))
    barrier.readAgain()
    #expect(barrier.wantsRead(at: start) && barrier.count == 2 && barrier.nextDeadline == start + .seconds(1))
    barrier.sent(at: start + .milliseconds(1), applied: 6)
    barrier.answered(position(6))
    #expect(barrier.reached(6).map(\.question.number) == [1, 2])
  }

  @Test func `wherever a question waits, its deadline is known and it is given back once`() {
    var barrier = Barrier(interval: .zero, now: start)
    for number in 1...3 as ClosedRange<UInt64> {
      barrier.add(question(number), deadline: start + .seconds(Int(number)))
      if number < 3 { barrier.sent(at: start, applied: 0) }
      if number < 2 { barrier.answered(position(7)) }
    }
    // 1 waits for a version, 2 for the read that is on its way, 3 for the next one.
    for number in 1...3 as ClosedRange<UInt64> {
      #expect(barrier.nextDeadline == start + .seconds(Int(number)))
      #expect(barrier.expired(at: start + .milliseconds(Int(number) * 1000 - 1)).isEmpty)
      #expect(barrier.expired(at: start + .seconds(Int(number))).map(\.number) == [number])
    }
    #expect(barrier.nextDeadline == nil)
    #expect(barrier.count == 0)
    #expect(barrier.reached(7).isEmpty)
  }

  @Test func `a question waits for a mark that isn't older than the time of its first read`() throws {
    var barrier = Barrier(interval: .zero, markInterval: .milliseconds(50), now: start)
    barrier.add(question(1), deadline: start + .seconds(2))
    barrier.sent(at: start, applied: 5)
    barrier.answered(position(5, mark: 900, at: 1_000))
    let first = barrier.reached(5)
    #expect(first.map(\.question.number) == [1] && first[0].arrival == nil)
    barrier.awaitMark(first)
    #expect(barrier.count == 1 && barrier.nextDeadline == start + .seconds(2))
    // It isn't read without a pause.
    #expect(barrier.isWaitedFor && !barrier.wantsRead(at: start + .milliseconds(49)))
    #expect(barrier.nextRead == start + .milliseconds(50))

    // Marks that prove nothing: no mark, the same mark, an older mark, a mark of another version, a mark in the future.
    let later = start + .milliseconds(50)
    for unfit in [
      position(5, mark: nil, at: 2_000), position(5, mark: 900, at: 2_000), position(5, mark: 999, at: 2_000),
      position(6, mark: 1_500, of: 5, at: 2_000), position(5, mark: 2_001, at: 2_000),
    ] {
      barrier.sent(at: later, applied: 5)
      #expect(barrier.read?.isWaitedFor == true)
      barrier.answered(unfit)
      #expect(barrier.reached(unfit.version).isEmpty && barrier.count == 1)
    }
    barrier.sent(at: later, applied: 5)
    barrier.answered(position(5, mark: 1_000, at: 3_000))
    let ready = try #require(barrier.reached(5).first)
    #expect(ready.arrival?.readAt == 1_000 && ready.read.position.source.moment == 1_000)
    #expect(barrier.count == 0 && barrier.nextRead == nil && !barrier.isWaitedFor)
  }

  @Test(arguments: [1, 2], [true, false])
  func `questions that wait for a mark time out in their order, in whichever order they came to wait for it`(
    earlier: UInt64, isAnswered: Bool
  ) {
    var barrier = Barrier(interval: .zero, now: start)
    let unmarked = position(5, mark: nil, at: 1_000)
    func wait(_ number: UInt64) {
      barrier.add(question(number), deadline: start + .seconds(number == earlier ? 2 : 3))
      barrier.sent(at: start, applied: 5)
    }
    // The first waits for version 9 while the second comes to wait for a mark, and a read for that is under way.
    wait(1)
    barrier.answered(position(9, mark: nil, at: 1_000))
    wait(2)
    barrier.answered(unmarked)
    barrier.awaitMark(barrier.reached(5))
    barrier.sent(at: start, applied: 5)
    barrier.awaitMark(barrier.reached(9))
    if isAnswered { barrier.answered(unmarked) } else { barrier.readAgain() }
    #expect(barrier.count == 2 && barrier.nextDeadline == start + .seconds(2))
    #expect(barrier.expiredForMark(at: start + .seconds(2)).map(\.number) == [earlier])
    #expect(barrier.nextDeadline == start + .seconds(3))
  }

  @Test func `a mark that was there at the first read proves nothing, whatever its moment`() throws {
    // After a failover to a server whose clock is behind: the old mark is in the future there.
    var barrier = Barrier(interval: .zero, now: start)
    barrier.add(question(1), deadline: start + .seconds(2))
    barrier.sent(at: start, applied: 5)
    barrier.answered(position(5, mark: 1_200, at: 1_000))
    barrier.awaitMark(barrier.reached(5))
    barrier.sent(at: start, applied: 5)
    barrier.answered(position(5, mark: 1_200, at: 1_300))
    #expect(barrier.reached(5).isEmpty && barrier.count == 1)
    barrier.sent(at: start, applied: 5)
    barrier.answered(position(5, mark: 1_250, at: 1_300))
    #expect(barrier.reached(5).map(\.question.number) == [1])
  }

  @Test func `questions that wait for a mark time out by themselves, and new ones don't wait for their pause`() {
    var barrier = Barrier(interval: .zero, markInterval: .seconds(10), now: start)
    barrier.add(question(1), deadline: start + .seconds(1))
    barrier.sent(at: start, applied: 5)
    barrier.answered(position(5, mark: 1, at: 1_000))
    barrier.awaitMark(barrier.reached(5))
    barrier.add(question(2), deadline: start + .seconds(3))
    #expect(barrier.wantsRead(at: start) && barrier.count == 2)
    barrier.sent(at: start, applied: 5)
    #expect(barrier.nextDeadline == start + .seconds(1))
    #expect(barrier.expired(at: start + .seconds(1)).isEmpty)
    #expect(barrier.expiredForMark(at: start + .seconds(1)).map(\.number) == [1])
    barrier.readAgain()
    #expect(barrier.count == 1 && barrier.nextDeadline == start + .seconds(3))
    barrier.sent(at: start, applied: 5)
    barrier.answered(position(5, mark: 1, at: 2_000))
    barrier.awaitMark(barrier.reached(5))
    barrier.sent(at: start, applied: 5)
    #expect(barrier.failed().map(\.number) == [2] && barrier.count == 0)
  }

  @Test func `a failed read gives back its own questions, giving up gives back all`() {
    var barrier = Barrier(interval: .zero, now: start)
    barrier.add(question(1), deadline: start)
    barrier.sent(at: start, applied: 0)
    barrier.answered(position(7))
    barrier.add(question(2), deadline: start)
    barrier.sent(at: start, applied: 0)
    barrier.add(question(3), deadline: start)
    #expect(barrier.failed().map(\.number) == [2])
    #expect(barrier.count == 2)
    #expect(Set(barrier.giveUp().map(\.number)) == [1, 3])
    #expect(barrier.count == 0 && barrier.read == nil && !barrier.wantsRead(at: start))
  }
}
