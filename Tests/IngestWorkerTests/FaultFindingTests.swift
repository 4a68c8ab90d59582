import IngestQueue
import QueueFixture
import RedisFixture
import Testing

@testable import IngestWorker

struct FaultFindingTests {
  private func id(_ number: Int) -> EnvelopeID { EnvelopeHeader.numbered(number).id }

  @Test func `a failure counts where another payload was accepted at the same time or since, and once for each`() {
    var faults = FaultFinding()
    #expect(faults.noteFailed(id(1), since: faults.accepted) == .unknown(failures: 1))
    #expect(faults.noteFailed(id(1), since: faults.accepted) == .unknown(failures: 2))
    faults.noteAccepted(id(2))
    #expect(faults.noteFailed(id(1), since: faults.accepted) == .payload)
    #expect(faults.noteFailed(id(1), since: faults.accepted) == .unknown(failures: 4))
    let begin = faults.accepted
    faults.noteAccepted(id(3))
    #expect(faults.noteFailed(id(4), since: begin) == .payload)
  }

  /// Sends payloads, and those that failed again and again, until they are accepted or have so many counted failures.
  /// - Returns: How many of the others were given up, and how many of the bad ones.
  private func run(
    _ count: Int, bad: (Int) -> Bool, failing chance: Double, attempts: Int, _ generator: inout SeededGenerator
  ) -> (others: Int, bad: Int) {
    var faults = FaultFinding()
    var waiting: [(number: Int, attempts: Int)] = []
    var given = (others: 0, bad: 0)
    var next = 0
    var turns = 0
    while next < count || !waiting.isEmpty, turns < 2_000 {
      turns += 1
      // Half of a batch comes back, half is new. After the last of the given ones there are more that are fine.
      let returning = waiting.prefix(25)
      waiting.removeFirst(returning.count)
      let new = (next..<(next + 50 - returning.count)).map { (number: $0, attempts: 0) }
      next += new.count
      let begin = faults.accepted
      for var payload in (returning + new).shuffled(using: &generator) {
        let isBad = payload.number < count && bad(payload.number)
        guard isBad || Double.random(in: 0..<1, using: &generator) < chance else {
          faults.noteAccepted(id(payload.number))
          continue
        }
        if faults.noteFailed(id(payload.number), since: begin) == .payload { payload.attempts += 1 }
        if payload.attempts < attempts {
          waiting.append(payload)
        } else if isBad {
          given.bad += 1
        } else {
          given.others += 1
        }
      }
    }
    return given
  }

  @Test(arguments: [2, 3, 10, 100])
  func `where each so many-th payload is bad and the sink is steady, all bad ones are found and no other`(each: Int) {
    var generator = SeededGenerator.announced()
    let found = run(2_000, bad: { $0.isMultiple(of: each) }, failing: 0, attempts: 5, &generator)
    #expect(found.bad == (0..<2_000).count { $0.isMultiple(of: each) })
    #expect(found.others == 0)
  }

  @Test(arguments: [0.3, 0.5, 0.9, 0.99])
  func `a sink that fails at random makes next to no dead letters`(chance: Double) {
    var generator = SeededGenerator.announced()
    // In one draw of some dozens the first that are accepted happen to be all at their first try.
    let others = (0..<3).map { _ in run(400, bad: { _ in false }, failing: chance, attempts: 5, &generator).others }
    #expect(others.sorted()[1] <= 4, "\(others) of 400")
  }
}
