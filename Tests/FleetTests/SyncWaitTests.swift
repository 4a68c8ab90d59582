import KeyReplica
import Testing

@testable import Fleet

struct SyncWaitTests {
  private func look(_ wait: inout SyncWait, _ facts: FleetFacts) -> [String] { wait.look(at: facts).map(\.text) }

  private func node(_ name: String, at version: UInt64) -> Member<NodeReport> {
    Sample.member(
      Sample.node(name) {
        $0.version = version
        $0.storeVersion = version
      })
  }

  /// A store at a version, which doesn't stand still, so that numbers of keys aren't compared.
  private func facts(_ nodes: [Member<NodeReport>], store version: UInt64) -> FleetFacts {
    Sample.facts(nodes: nodes) {
      $0.store?.version = version
      $0.storeAfter?.version = version + 1
    }
  }

  @Test func `a fleet in sync at the store's version needs no wait`() {
    for nodes in [SyncWait.Nodes.all, .named("node-1"), .atLeast(1)] {
      var wait = SyncWait(for: nodes)
      #expect(look(&wait, facts([node("node-1", at: 10)], store: 10)) == [])
    }
  }

  @Test func `level with the store as of a moment ago isn't enough: the version at the first look must be reached`() {
    for nodes in [SyncWait.Nodes.all, .named("node-1"), .atLeast(1)] {
      var wait = SyncWait(for: nodes)
      let first = facts([node("node-1", at: 9)], store: 10)
      #expect(FleetVerdict(first).isInSync)
      #expect(look(&wait, first).contains("node-1 is 1 change behind: at version 9 of 10"))
      // The store goes on; only the first look's version counts.
      #expect(look(&wait, facts([node("node-1", at: 10)], store: 20)) == [])
    }
  }

  @Test func `all means every node that didn't end in good order`() {
    var wait = SyncWait(for: .all)
    let good = node("node-1", at: 10)
    #expect(
      look(&wait, facts([good, Sample.member(Sample.node("node-2"), age: 20)], store: 10))
        == ["node-2 has been silent for 20 s"])
    #expect(look(&wait, facts([good, Sample.member(Sample.node("node-2"), age: 20, stopped: true)], store: 10)) == [])
    #expect(look(&wait, facts([], store: 10)) == ["no node has reported"])
    var unreadable = facts([good], store: 10)
    unreadable.fleet.unreadable = [UnreadableMember(kind: .node, name: "node-3", reason: "the report isn't JSON")]
    #expect(
      look(&wait, unreadable) == ["the report of node-3 can't be read (another Sluice version?): the report isn't JSON"]
    )
  }

  @Test func `a named node is all that counts`() {
    var wait = SyncWait(for: .named("node-2"))
    let bad = Sample.member(Sample.node("node-1"), age: 20)
    #expect(look(&wait, facts([bad], store: 10)) == ["no node called node-2 has reported"])
    #expect(look(&wait, facts([], store: 10)) == ["no node called node-2 has reported"])
    #expect(
      look(&wait, facts([bad, Sample.member(Sample.node("node-2"), age: 1, stopped: true)], store: 10))
        == ["node-2 has ended"])
    #expect(look(&wait, facts([bad, node("node-2", at: 10)], store: 10)) == [])
    var unreadable = facts([bad], store: 10)
    unreadable.fleet.unreadable = [UnreadableMember(kind: .node, name: "node-2", reason: "the report isn't JSON")]
    #expect(
      look(&wait, unreadable) == ["the report of node-2 can't be read (another Sluice version?): the report isn't JSON"]
    )
    var full = facts([bad], store: 10)
    full.fleet.turnedAway = [MemberID(.node, "node-2")]
    #expect(look(&wait, full).count == 1)
    #expect(look(&wait, full).first?.hasPrefix("the node node-2 runs and isn't in the fleet's register") == true)
  }

  @Test func `so many nodes are enough, whatever the others do`() {
    var wait = SyncWait(for: .atLeast(2))
    let bad = Sample.member(Sample.node("node-3"), age: 20)
    #expect(
      look(&wait, facts([node("node-1", at: 10), node("node-2", at: 9), bad], store: 10)) == [
        "1 of 2 nodes in sync", "node-2 is 1 change behind: at version 9 of 10", "node-3 has been silent for 20 s",
      ])
    #expect(look(&wait, facts([node("node-1", at: 10), node("node-2", at: 10), bad], store: 10)) == [])
    #expect(look(&wait, facts([], store: 10)) == ["0 of 2 nodes in sync"])
  }

  @Test func `nobody is in sync with a store that isn't there or isn't sealed`() {
    for nodes in [SyncWait.Nodes.all, .named("node-1"), .atLeast(1)] {
      var wait = SyncWait(for: nodes)
      var none = facts([node("node-1", at: 10)], store: 10)
      none.store = nil
      none.storeAfter = nil
      #expect(look(&wait, none) == ["there is no key store in this Redis and namespace: run key-publisher import"])
      var unsealed = facts([node("node-1", at: 10)], store: 10)
      unsealed.store?.sealed = false
      #expect(
        look(&wait, unsealed).first
          == "the store isn't sealed: keys that aren't active are answered 503, and nodes that start now don't get "
          + "ready. If it has all keys: key-publisher seal"
      )
    }
  }

  @Test func `another history has versions of its own`() {
    var wait = SyncWait(for: .all)
    #expect(look(&wait, facts([node("node-1", at: 90)], store: 100)) != [])
    var other = facts([node("node-1", at: 3)], store: 3)
    other.store?.epoch = "e2"
    other.storeAfter?.epoch = "e2"
    other.fleet.nodes[0].report.epoch = "e2"
    #expect(look(&wait, other) == [])
  }

  @Test func `a line is printed when something changes, and not because seconds tick by`() {
    var wait = SyncWait(for: .all)
    func news(_ nodes: [Member<NodeReport>]) -> [String] {
      let missing = wait.look(at: facts(nodes, store: 10))
      return wait.news(in: missing)
    }
    func loading(_ verified: Int) -> Member<NodeReport> {
      Sample.member(Sample.node { $0.completeness = .init(state: .loading, verified: verified, total: 1_024) })
    }
    #expect(news([loading(1)]) == ["node-1 has verified 1 of 1,024 buckets"])
    #expect(news([loading(1)]) == [])
    #expect(news([loading(2)]) == ["node-1 has verified 2 of 1,024 buckets"])
    #expect(news([Sample.member(Sample.node(), age: 6)]) == ["node-1 has been silent for 6 s"])
    #expect(news([Sample.member(Sample.node(), age: 7)]) == [])
    #expect(news([Sample.member(Sample.node("node-2"), age: 7)]) == ["node-2 has been silent for 7 s"])
    #expect(news([]) == ["no node has reported"])
    #expect(news([]) == [])
  }
}
