// The messages of sync-status about the source mark: one sentence for all nodes, and what to do.

import Fleet
import KeyReplica
import Testing

@Suite struct SourceVerdictTests {
  private static let time: UInt64 = 1_700_000_000_000_000

  private func verdict(
    _ mark: SourceMark, nodes: [NodeReport] = [Sample.node()], age: Double = 0.5
  ) -> FleetVerdict {
    FleetVerdict(Sample.facts(nodes: nodes.map { Sample.member($0, age: age) }) { $0.store?.source = mark })
  }

  private func problems(_ verdict: FleetVerdict) -> [String] { verdict.problems.map { "\($0.severity): \($0.text)" } }

  /// A node that refuses nobody because of the mark.
  private func stale(_ name: String = "node-1", proving basis: ProofBasis, age: Double? = 75) -> NodeReport {
    Sample.node(name) {
      $0.refusalsBlocked = "the source mark is 90 s old"
      $0.source = .init(markedAt: 1, ageSeconds: age, maxAgeSeconds: nil, proveAgainst: basis, stale: true)
    }
  }

  @Test func `a recent mark, and an old one without a maximum age, are no problem`() {
    for mark in [
      SourceMark(), SourceMark(moment: 1, readAt: Self.time),
      SourceMark(moment: Self.time - 1_000_000, maxAge: .seconds(60), readAt: Self.time),
    ] {
      #expect(problems(verdict(mark)) == [])
    }
  }

  @Test func `a maximum age that the store has lost and nodes keep is wrong, until the store says something`() {
    func kept(_ name: String, _ seconds: Double?) -> NodeReport {
      Sample.node(name) {
        $0.source = .init(markedAt: 1, ageSeconds: 1, maxAgeSeconds: seconds, proveAgainst: .store, stale: false)
      }
    }
    func problems(_ mark: SourceMark) -> [String] {
      let nodes = [kept("node-1", 60), kept("node-2", nil)].map { Sample.member($0) }
      let found = FleetVerdict(
        Sample.facts(nodes: nodes) {
          $0.store?.source = mark
          $0.storeAfter?.source = mark
        })
      return found.problems.map { "\($0.severity): \($0.text)" }
    }
    let lost = problems(SourceMark(moment: Self.time - 1_000_000, readAt: Self.time))
    #expect(
      lost == [
        "wrong: the store has lost the maximum age of its source mark (flushed? recreated?). node-1 keeps 60 s in "
          + "force, other nodes have none. Set it again: key-publisher source --max-age, with a time or none"
      ])
    #expect(problems(SourceMark(saysNoLimit: true)) == [])
    #expect(problems(SourceMark(moment: Self.time - 1_000_000, maxAge: .seconds(60), readAt: Self.time)) == [])
  }

  @Test func `a mark beyond its maximum age is wrong, and keeps no node from being in sync`() {
    let mark = SourceMark(moment: Self.time - 75_000_000, maxAge: .seconds(60), readAt: Self.time)
    let found = verdict(mark, nodes: [stale(proving: .store), stale("node-2", proving: .store)])
    #expect(found.isInSync && found.nodesInSync == 2 && !found.isWell)
    #expect(
      problems(found) == [
        "wrong: unknown keys are answered 503, because the source mark is 75 s old; the maximum age is 60 s. Start key-publisher "
          + "follow, or see its log, or change the maximum age: key-publisher source --max-age"
      ])
  }

  @Test func `a mark that is missing, in the future or unreadable is told apart`() {
    func first(_ mark: SourceMark) -> String { problems(verdict(mark)).first ?? "" }
    #expect(first(SourceMark(maxAge: .seconds(60), readAt: Self.time)).contains("is missing; the maximum age is 60 s"))
    #expect(
      first(SourceMark(moment: Self.time + 1, maxAge: .seconds(60), readAt: Self.time)).contains("is in the future"))
    #expect(first(SourceMark(flaw: "expected a number")).contains("can't be read (expected a number)"))
    // Only this command's user is denied TIME.
    #expect(first(SourceMark(moment: Self.time, maxAge: .seconds(60))) == "")
  }

  @Test func `nodes that prove refusals against the source say that they can't`() {
    let mark = SourceMark(moment: Self.time - 75_000_000, readAt: Self.time)
    let one = verdict(mark, nodes: [stale(proving: .source), Sample.node("node-2")])
    #expect(
      problems(one) == [
        "wrong: node-1 answers 503 to unknown keys, because the source mark is 75 s old, and refusals have to be proven "
          + "against the source (--prove-against source). Start key-publisher follow, or see its log"
      ])
    #expect(one.problems.first?.member == "node-1" && one.nodesInSync == 2)
    let both = verdict(mark, nodes: [stale(proving: .source, age: nil), stale("node-2", proving: .source)])
    let start = "wrong: node-1 and node-2 answer 503 to unknown keys, because the source mark is missing"
    #expect(problems(both).first?.hasPrefix(start) == true)
    #expect(both.problems.count == 1 && both.problems.first?.member == nil)
    let silent = problems(verdict(mark, nodes: [stale(proving: .source)], age: 60))
    #expect(silent.allSatisfy { !$0.contains("source mark") })
  }

  @Test func `another reason for refusing nobody keeps a node out of sync, however old the mark is`() {
    var node = stale(proving: .source)
    node.source?.stale = false
    #expect(!verdict(SourceMark(), nodes: [node]).isInSync)
  }

  @Test func `the page shows the mark's age and its maximum`() {
    func page(_ mark: SourceMark) -> String {
      let facts = Sample.facts { $0.store?.source = mark }
      return StatusTable(facts, FleetVerdict(facts), place: "redis://h:6379", colours: false).render()
    }
    #expect(!page(SourceMark()).contains("source"))
    #expect(
      page(SourceMark(moment: Self.time - 400_000, maxAge: .seconds(60), readAt: Self.time))
        .contains("  equal to the source as of 0.4 s ago, maximum age 60 s\n"))
    #expect(page(SourceMark(maxAge: .seconds(60), readAt: Self.time)).contains("  no source mark, maximum age 60 s\n"))
  }
}
