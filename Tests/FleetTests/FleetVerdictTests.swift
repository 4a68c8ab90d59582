import Fleet
import IngestQueue
import KeyReplica
import Testing

struct FleetVerdictTests {
  /// The verdict on one node that is as the sample but for the change.
  private func verdict(_ change: (inout NodeReport) -> Void) -> FleetVerdict {
    FleetVerdict(Sample.facts(nodes: [Sample.member(Sample.node("node-1", change))]))
  }

  private func texts(_ verdict: FleetVerdict, _ severity: FleetProblem.Severity) -> [String] {
    verdict.problems.filter { $0.severity == severity }.map(\.text)
  }

  private func wrong(_ verdict: FleetVerdict) -> [String] { texts(verdict, .outOfSync) }
  private func untaken(_ verdict: FleetVerdict) -> [String] { texts(verdict, .wrong) }
  private func notes(_ verdict: FleetVerdict) -> [String] { texts(verdict, .note) }

  @Test func `a fleet that is as it should be is in sync and nothing is said of it`() {
    let verdict = FleetVerdict(Sample.facts())
    #expect(verdict.isInSync)
    #expect(verdict.problems == [])
    #expect(verdict.nodesInSync == 1)
    #expect(verdict.nodesExpected == 1)
  }

  // MARK: The store

  @Test func `without a store nothing is in sync`() {
    let verdict = FleetVerdict(
      Sample.facts {
        $0.store = nil
        $0.storeAfter = nil
      })
    #expect(wrong(verdict) == ["there is no key store in this Redis and namespace: run key-publisher import"])
    #expect(verdict.nodesInSync == 0)
    #expect(!verdict.isInSync)
  }

  @Test func `while the store isn't sealed nothing is in sync, and nodes that aren't ready are named`() {
    func unsealed(ready: Set<String>) -> FleetVerdict {
      let nodes = ["node-1", "node-2", "node-3"].map { name in
        Sample.member(
          Sample.node(name) {
            $0.sealed = false
            $0.ready = ready.contains(name)
            $0.state = $0.ready ? .ready : .notReady
          })
      }
      return FleetVerdict(
        Sample.facts(nodes: nodes) {
          $0.store?.sealed = false
          $0.storeAfter?.sealed = false
        })
    }
    let cases: [(Set<String>, String)] = [
      (["node-1", "node-2", "node-3"], "nodes that start now don't get ready"),
      (["node-1", "node-3"], "node-2 isn't ready (/readyz answers 503). Nodes that were ready before stay ready"),
      ([], "node-1, node-2 and node-3 aren't ready (/readyz answers 503). Nodes that were ready before stay ready"),
    ]
    for (ready, text) in cases {
      let verdict = unsealed(ready: ready)
      #expect(
        wrong(verdict) == [
          "the store isn't sealed: keys that aren't active are answered 503, and \(text). If it has all keys: "
            + "key-publisher seal"
        ])
      #expect(notes(verdict) == [])
      #expect(verdict.nodesInSync == 0)
    }
  }

  @Test func `a sealed store without keys is worth a note`() {
    let verdict = FleetVerdict(
      Sample.facts(nodes: [Sample.member(Sample.node { $0.keys = 0 })]) {
        $0.store?.count = 0
        $0.storeAfter?.count = 0
      })
    #expect(verdict.isInSync)
    #expect(notes(verdict) == ["the store is sealed with no keys in it: every key is refused"])
  }

  // MARK: The register

  @Test func `a node that found the register full keeps the fleet from being in sync, a worker is wrong`() {
    var facts = Sample.facts()
    facts.fleet.turnedAway = [MemberID(.worker, "worker-9")]
    var verdict = FleetVerdict(facts)
    #expect(verdict.isInSync && !verdict.isWell)
    #expect(
      untaken(verdict) == [
        "the worker worker-9 runs and isn't in the fleet's register, which is full: it holds 1,000 live members. "
          + "Run fewer and larger nodes and workers"
      ])
    facts.fleet.turnedAway = [MemberID(.node, "node-9")]
    verdict = FleetVerdict(facts)
    #expect(!verdict.isInSync)
    #expect(verdict.nodesExpected == 2)
    #expect(verdict.nodesInSync == 1)
    #expect(wrong(verdict).count == 1)
    #expect(wrong(verdict).first?.hasPrefix("the node node-9 runs and isn't in the fleet's register") == true)
  }

  @Test func `a register is full when nobody in it can make room`() {
    func verdict(_ other: Member<WorkerReport>) -> FleetVerdict {
      var facts = Sample.facts(workers: [other])
      facts.fleet.limit = 2
      return FleetVerdict(facts)
    }
    let full = verdict(Sample.member(Sample.worker()))
    #expect(full.isInSync && !full.isWell)
    #expect(
      untaken(full).first?.hasPrefix("the fleet's register is full, so further nodes and workers aren't shown") == true)
    #expect(untaken(verdict(Sample.member(Sample.worker(), age: 200))).count == 1, "it may live")
    #expect(untaken(verdict(Sample.member(Sample.worker(), age: 301))) == [])
    #expect(untaken(verdict(Sample.member(Sample.worker(), stopped: true))) == [])
  }

  // MARK: The nodes

  @Test func `a member that hasn't reported since Redis's clock went back isn't taken for a live one`() {
    var node = Sample.member(Sample.node(), age: 0)
    node.isUndated = true
    var worker = Sample.member(Sample.worker(), age: 0)
    worker.isUndated = true
    let verdict = FleetVerdict(Sample.facts(nodes: [node], workers: [worker]))
    #expect(wrong(verdict) == ["node-1 hasn't reported since Redis's clock went back"])
    #expect(notes(verdict).contains("worker-1 hasn't reported since Redis's clock went back"))
  }

  @Test func `no nodes at all are not in sync`() {
    #expect(wrong(FleetVerdict(Sample.facts(nodes: []))) == ["no node has reported"])
  }

  @Test func `nodes that all ended are not in sync`() {
    let verdict = FleetVerdict(Sample.facts(nodes: [Sample.member(Sample.node(), age: 60, stopped: true)]))
    #expect(wrong(verdict) == ["no node is running: 1 node ended"])
    #expect(verdict.nodesExpected == 0)
  }

  @Test func `a node that ended in good order isn't missed`() {
    let verdict = FleetVerdict(
      Sample.facts(nodes: [
        Sample.member(Sample.node("node-1")), Sample.member(Sample.node("node-2"), age: 60, stopped: true),
      ]))
    #expect(verdict.isInSync)
    #expect(verdict.nodesExpected == 1)
  }

  @Test(arguments: [(5.0, true), (5.001, false), (14.0, false)])
  func `a report of at most five seconds is fresh`(age: Double, isInSync: Bool) {
    #expect(FleetVerdict(Sample.facts(nodes: [Sample.member(Sample.node(), age: age)])).isInSync == isInSync)
  }

  @Test func `what a silent node said last is no news of it`() {
    let report = Sample.node("node-2") {
      $0.completeness.state = .loading
      $0.state = .draining
      $0.build = "v0"
    }
    let verdict = FleetVerdict(Sample.facts(nodes: [Sample.member(Sample.node()), Sample.member(report, age: 14.7)]))
    #expect(wrong(verdict) == ["node-2 has been silent for 14 s"])
    #expect(notes(verdict) == [])
    #expect(verdict.nodesInSync == 1)
    #expect(verdict.nodesExpected == 2)
  }

  @Test func `two live processes under one name can't be judged`() {
    #expect(
      wrong(FleetVerdict(Sample.facts(nodes: [Sample.member(Sample.node(), clash: 2)]))) == [
        "node-1 shares its name with another live process: give each node a name of its own"
      ])
    #expect(FleetVerdict(Sample.facts(nodes: [Sample.member(Sample.node(), clash: 6)])).isInSync)
  }

  @Test(arguments: [
    (Completeness.State.empty, 0, "has read nothing of the store yet"),
    (.loading, 512, "has verified 512 of 1,024 buckets"),
    (.loading, 1_024, "has verified every bucket and is catching up with the latest changes"),
    (.restored, 3, "uses its state file; 3 of 1,024 buckets are verified so far"),
    (.guarded, 1_024, "holds back removals of keys: check them, then run key-publisher confirm, or put the keys again"),
    (
      .diverged, 1_023,
      "differs from the store (1,023 of 1,024 buckets verified), so unknown keys are answered 503: run key-publisher "
        + "verify, and see the node's log"
    ),
    (
      .incompatible, 0,
      "can't read the store's format: run the same Sluice version for nodes and key-publisher, and finish any reseal"
    ),
  ]) func `only a complete mirror is in sync`(state: Completeness.State, verified: Int, words: String) {
    // The first cause is enough, whatever the other values are.
    for version in [1_000_100, 5] as [UInt64] {
      let verdict = verdict {
        $0.completeness = .init(state: state, verified: verified, total: 1_024)
        $0.version = version
        $0.ready = false
      }
      #expect(wrong(verdict) == ["node-1 \(words)"])
      #expect(notes(verdict) == [])
    }
  }

  @Test func `every state but complete is out of sync`() {
    for state in Completeness.State.allCases {
      #expect(verdict { $0.completeness.state = state }.isInSync == (state == .complete), "\(state)")
    }
  }

  @Test func `another history is never in sync, whatever its version`() {
    for version in [1_000_100, 9_000_000] as [UInt64] {
      let verdict = verdict {
        $0.epoch = "e0"
        $0.version = version
      }
      #expect(
        wrong(verdict) == [
          "node-1 still mirrors epoch e0, but the store has epoch e1: if this stays, compare the node's --redis with yours"
        ])
    }
    #expect(
      wrong(verdict { $0.epoch = nil })
        == [
          "node-1 still mirrors epoch unknown, but the store has epoch e1: if this stays, compare the node's --redis with yours"
        ])
  }

  @Test func `a node must know that the store is sealed`() {
    for sealed in [false, nil] {
      #expect(wrong(verdict { $0.sealed = sealed }) == ["node-1 hasn't read yet that the store is sealed"])
    }
  }

  @Test func `never heard isn't zero seconds ago`() {
    #expect(wrong(verdict { $0.freshnessSeconds = nil }) == ["node-1 has had no answer from the store yet"])
  }

  @Test(arguments: [(0.0, true), (5.0, true), (5.1, false), (37.9, false)])
  func `a node must have heard from the store lately`(age: Double, isInSync: Bool) {
    #expect(verdict { $0.freshnessSeconds = age }.isInSync == isInSync)
  }

  @Test func `how long ago a node heard from the store is said`() {
    #expect(
      wrong(verdict { $0.freshnessSeconds = 37.9 })
        == ["node-1 had had no answer from the store for 37 s when it reported"])
  }

  /// One node at a version, that had read the store's version as the other.
  private func verdict(at version: UInt64, read storeVersion: UInt64?) -> FleetVerdict {
    verdict {
      $0.version = version
      $0.storeVersion = storeVersion
    }
  }

  @Test func `a node that was level with the store when it reported is in sync, though changes came since`() {
    #expect(verdict(at: 1_000_000, read: 1_000_000).isInSync)
    #expect(verdict(at: 1_000_100, read: 1_000_000).isInSync)
  }

  @Test func `a node that knew of changes it had not followed is behind`() {
    let words = "node-1 is 1,100 changes behind: at version 999,000 of 1,000,100"
    #expect(wrong(verdict(at: 999_000, read: 999_001)) == [words])
    // It hasn't read the store's version, so its own version explains nothing.
    #expect(wrong(verdict(at: 999_000, read: nil)) == [words])
    #expect(
      wrong(verdict(at: 1_000_099, read: 1_000_100))
        == ["node-1 is 1 change behind: at version 1,000,099 of 1,000,100"])
  }

  @Test func `a lag isn't explained by an old reading of the store`() {
    let verdict = verdict {
      $0.version = 10
      $0.storeVersion = 10
      $0.freshnessSeconds = 60
    }
    #expect(wrong(verdict) == ["node-1 had had no answer from the store for 1 min when it reported"])
  }

  @Test func `a node may be ahead of what was read before it, but not of what was read after it`() {
    let ahead = Sample.node {
      $0.version = 1_000_105
      $0.storeVersion = 1_000_105
      $0.keys = 1_000_005
    }
    func verdict(storeAfter: UInt64) -> FleetVerdict {
      FleetVerdict(Sample.facts(nodes: [Sample.member(ahead)]) { $0.storeAfter?.version = storeAfter })
    }
    #expect(verdict(storeAfter: 1_000_105).isInSync)
    #expect(
      wrong(verdict(storeAfter: 1_000_104)) == [
        "node-1 is at version 1,000,105, the store at 1,000,104: the store lost changes (failover, restore?). Run key-publisher sync with your list"
      ])
  }

  @Test func `a history that begins while we look is judged by the next look`() {
    let verdict = FleetVerdict(
      Sample.facts {
        $0.storeAfter?.epoch = "e2"
        $0.storeAfter?.version = 1
      })
    #expect(verdict.isInSync)
  }

  @Test func `a node at the store's version has the store's number of keys`() {
    #expect(
      wrong(verdict { $0.keys = 999_999 }) == [
        "node-1 has 999,999 keys, the store has 1,000,000 at the same version: run key-publisher verify"
      ])
    // While the store changes, the two numbers are from two moments.
    let moving = Sample.facts(nodes: [Sample.member(Sample.node { $0.keys = 999_999 })]) {
      $0.storeAfter?.version = 1_000_101
    }
    #expect(FleetVerdict(moving).isInSync)
    let behind = verdict {
      $0.keys = 999_999
      $0.version = 1_000_099
      $0.storeVersion = 1_000_099
    }
    #expect(behind.isInSync)
  }

  @Test func `everything that is wrong with a node is said`() {
    let verdict = verdict {
      $0.sealed = false
      $0.freshnessSeconds = 6
      $0.version = 1
      $0.storeVersion = 2
    }
    #expect(verdict.nodes[0].lacks == [.missesTheSeal, .stale(seconds: 6), .behind(version: 1, store: 1_000_100)])
  }

  @Test func `a node that is complete and can refuse nobody isn't in sync, and says why`() {
    let node = Sample.node { $0.refusalsBlocked = "only 1 of 2 servers confirms that this is the primary" }
    let verdict = FleetVerdict(Sample.facts(nodes: [Sample.member(node)]))
    #expect(verdict.nodes[0].lacks == [.cannotRefuse("only 1 of 2 servers confirms that this is the primary")])
    #expect(!verdict.isInSync)
  }

  @Test func `a node with a refusal storm is in sync, and sync-status says what to do`() {
    func node(_ name: String, unknown: Int, storm: Bool) -> Member<NodeReport> {
      Sample.member(
        Sample.node(name) { $0.recentKeys = .init(unknown: unknown, admitted: 12, confirmed: 0, storm: storm) })
    }
    var verdict = FleetVerdict(Sample.facts(nodes: [node("node-1", unknown: 1_240, storm: true)]))
    #expect(verdict.isInSync && !verdict.isWell)
    #expect(
      untaken(verdict) == [
        "node-1 answers 503 to unknown keys: clients recently sent 1,240 distinct unknown keys and 12 active ones. If the "
          + "store lacks keys, import them. If these keys should be refused: key-publisher confirm-unknown 1240"
      ])
    #expect(verdict.problems[0].member == "node-1")
    verdict = FleetVerdict(
      Sample.facts(nodes: [
        node("node-1", unknown: 30, storm: true), node("node-2", unknown: 1_000_000, storm: true),
        node("node-3", unknown: 2_000_000, storm: false),
      ]))
    #expect(
      untaken(verdict) == [
        "node-1 and node-2 answer 503 to unknown keys: clients recently sent node-2 1,000,000 distinct unknown keys and 12 "
          + "active ones. If the store lacks keys, import them. If these keys should be refused: key-publisher confirm-unknown 500000"
      ])
    #expect(verdict.problems[0].member == nil)
    // Neither a silent node nor a node that doesn't count keys reports a refusal storm.
    let silent = Sample.member(
      Sample.node { $0.recentKeys = .init(unknown: 30, admitted: 0, confirmed: 0, storm: true) }, age: 14)
    let old = Sample.member(Sample.node("node-2") { $0.recentKeys = nil })
    #expect(wrong(FleetVerdict(Sample.facts(nodes: [silent, old]))) == ["node-1 has been silent for 14 s"])
  }

  @Test func `keys that vanished are said for as long as the process lives`() {
    let node = Sample.node { $0.violations = 3 }
    let verdict = FleetVerdict(Sample.facts(nodes: [Sample.member(node)]))
    #expect(verdict.problems.contains { $0.text.contains("saw 3 active keys vanish") })
    #expect(verdict.problems.allSatisfy { $0.member == "node-1" })
  }

  @Test func `keys that vanished are wrong until somebody puts or confirms them, and are said once for the fleet`() {
    let nodes = [12, 60, 0].enumerated().map { index, vanished in
      Sample.member(Sample.node("node-\(index + 1)") { $0.vanished = vanished })
    }
    let verdict = FleetVerdict(Sample.facts(nodes: nodes))
    #expect(
      verdict.problems.filter { $0.severity == .wrong }.map(\.text) == [
        "60 keys vanished from the store without being revoked, and stay admitted by node-1 and node-2: put them again "
          + "(key-publisher import with your list); or, if they are meant to be gone: key-publisher confirm"
      ])
    #expect(!verdict.isWell)
  }

  @Test func `revocations that the store has lost are wrong`() {
    let verdict = FleetVerdict(Sample.facts(nodes: [Sample.member(Sample.node { $0.revived = 1 })]))
    #expect(
      verdict.problems.filter { $0.severity == .wrong }.map(\.text) == [
        "the store lost changes (restored backup, failover): 1 suspended or revoked key is admitted again. Run "
          + "key-publisher sync with your list; if it should be active: key-publisher confirm"
      ])
  }

  @Test func `a node at another store's address isn't in sync, and says which it expected and which it met`() {
    let wrong = WrongStore(
      expected: "production (ID 77ab)", met: "staging (ID 88cd)", command: "key-publisher adopt 77ab")
    let node = Sample.node {
      $0.wrongStore = wrong
      $0.completeness = Completeness(state: .diverged, verified: 0, total: 1_024)
    }
    let verdict = FleetVerdict(Sample.facts(nodes: [Sample.member(node)]))
    #expect(verdict.nodes[0].lacks == [.wrongStore(wrong)])
    #expect(
      verdict.problems.first?.text
        == "node-1 answers 503 to unknown keys, because it found the wrong store: expected the store production (ID 77ab), "
        + "found staging (ID 88cd). If the address (--redis) is wrong, correct it. If the found store replaces the expected "
        + "one, run there: key-publisher adopt 77ab"
    )
    #expect(!verdict.isInSync)
  }

  @Test func `a node whose report can't be understood isn't in sync`() {
    let verdict = FleetVerdict(
      Sample.facts(unreadable: [
        UnreadableMember(kind: .node, name: "node-9", reason: "the report isn't JSON"),
        UnreadableMember(kind: .worker, name: "worker-9", reason: "the report lacks sink"),
        UnreadableMember(kind: nil, name: "x", reason: "it is neither a node nor a worker"),
      ]))
    #expect(
      wrong(verdict) == ["the report of the node node-9 can't be read (another Sluice version?): the report isn't JSON"]
    )
    #expect(
      notes(verdict) == [
        "the report of the worker worker-9 can't be read (another Sluice version?): the report lacks sink",
        "the member x can't be read (another Sluice version?): it is neither a node nor a worker",
      ])
    #expect(verdict.nodesExpected == 2)
    #expect(verdict.nodesInSync == 1)
  }

  // MARK: Notes

  @Test func `what is wrong comes before what is only worth knowing`() {
    let verdict = FleetVerdict(
      Sample.facts(nodes: [
        Sample.member(Sample.node { $0.queue.state = .away }), Sample.member(Sample.node("node-2"), age: 9),
      ]) { $0.onlyShard = .known(QueueTotals(pending: 0, later: 0, claimed: 0, dead: 3)) })
    #expect(
      verdict.problems.map(\.text) == [
        "node-2 has been silent for 9 s", "node-1 can't reach the queue: it answers 503", "3 payloads are dead letters",
      ])
    #expect(verdict.problems.map(\.severity) == [.outOfSync, .wrong, .note])
  }

  @Test func `what is on a node's own disk is told`() {
    func texts(_ change: (inout NodeReport) -> Void, isWell: Bool = true) -> [String] {
      let verdict = FleetVerdict(Sample.facts(nodes: [Sample.member(Sample.node("node-1", change))]))
      #expect(verdict.isInSync && verdict.isWell == isWell)
      return verdict.problems.map(\.text)
    }
    let spooled = "node-1 has 3 payloads in its spool, on its own disk (2.0 KiB of 1.0 GiB, the oldest for 1 min)"
    #expect(texts { $0.spool = Sample.spool } == [spooled])
    #expect(
      texts {
        $0.spool = Sample.spool
        $0.queue.state = .away
      } == ["node-1 can't reach the queue: payloads go to its spool", spooled])
    let closed = texts(
      {
        $0.spool = .init(
          state: .closed, entries: 0, bytes: 0, limitBytes: 1, oldestSeconds: nil, reason: "the spool's disk is full")
        $0.queue.state = .away
      }, isWell: false)
    #expect(
      closed == [
        "node-1 can't reach the queue: it answers 503",
        "node-1's spool accepts no payloads, so pushes are answered 503 while Redis is unreachable: the spool's disk is full",
      ])
    #expect(
      texts { $0.spool = .init(state: .open, entries: 0, bytes: 0, limitBytes: 1, oldestSeconds: nil, reason: nil) }
        .isEmpty)
    let setAside = texts(
      {
        $0.spool = .init(
          state: .open, entries: 0, bytes: 0, limitBytes: 1, oldestSeconds: nil, reason: nil, setAside: 1,
          setAsideBytes: 2 << 20)
      }, isWell: false)
    #expect(
      setAside == [
        "node-1 has set aside 1 payload in its spool, because Redis rejects them (2.0 MiB): "
          + "stop the node and see `sync-status spool list FOLDER` on its machine"
      ])
  }

  @Test func `a shard that isn't pushed to is named once, whoever says it`() {
    let nodes = ["node-1", "node-2"].map { name in
      Sample.member(
        Sample.node(name) {
          $0.queue.shards = [Sample.shard, Sample.shard]
          $0.queue.shards[0].overLimit = "bytes"
          $0.queue.shards[1].shard = 1
          $0.queue.shards[1].durabilityLack = "--require-durability always isn't met: appendonly is no"
        })
    }
    let verdict = FleetVerdict(Sample.facts(nodes: nodes))
    #expect(verdict.isInSync && !verdict.isWell)
    #expect(
      untaken(verdict) == [
        "shard 0 of the queue is over its limit of bytes (--max-queue-bytes): it gets no pushes until it is below "
          + "--queue-low-water. Start workers, or raise the limit",
        "shard 1 of the queue gets no pushes: --require-durability always isn't met: appendonly is no",
      ])
  }

  @Test func `a shard that isn't pushed to is a note as long as each node has another`() {
    let verdict = verdict {
      $0.queue.shards = [Sample.shard, Sample.shard]
      $0.queue.shards[0].overLimit = "bytes"
    }
    #expect(verdict.isWell)
    #expect(
      notes(verdict) == [
        "shard 0 of the queue is over its limit of bytes (--max-queue-bytes): it gets no pushes until it is below "
          + "--queue-low-water. Start workers, or raise the limit"
      ])
  }

  @Test func `a node that has taken nothing for a minute is wrong, whatever the reason and the status`() {
    let bad = verdict {
      $0.lastMinute = .init(taken: 0, notTaken: 121, reasons: ["durability_lost": 120, "unsealed": 1])
    }
    #expect(bad.isInSync && !bad.isWell)
    #expect(
      untaken(bad) == ["node-1 accepted none of 121 pushes in the last minute: 120 durability_lost and 1 unsealed"])
    #expect(verdict { $0.lastMinute = .init(taken: 1, notTaken: 121) }.isWell)
    // No pushes, or only pushes of accounts over their rate.
    #expect(verdict { $0.lastMinute = .init() }.isWell)
  }

  @Test func `accounts with too many dead letters come first of what is wrong, with what to do`() {
    func verdict(_ refused: Int, dead: Int64 = 3 << 20, known: [AccountBytes.Account]) -> FleetVerdict {
      let node = Sample.node {
        $0.queue.shards[0].refusedAccounts = refused
        $0.queue.shards[0].deadBytes = dead
        $0.queue.shards[0].roomBytes = 16 << 20
        $0.lastMinute = .init(taken: 0, notTaken: 1, reasons: ["queue_away": 1])
      }
      return FleetVerdict(
        Sample.facts(nodes: [Sample.member(node), Sample.member(Sample.node("node-2"), age: 0.1)]) {
          $0.onlyShard = .known(
            QueueTotals(
              pending: 0, later: 0, claimed: 0, dead: 3, deadBytes: AccountBytes(all: dead, accounts: known)))
        })
    }
    func account(_ name: String, _ bytes: Int64) -> AccountBytes.Account { .init(name: name, bytes: bytes) }
    let untakenByNode = "node-1 accepted none of 1 push in the last minute: 1 queue_away"
    let acme =
      "pushes of acme aren't accepted (too_many_dead_letters): it has 2.0 MiB of dead letters in shard 0. See sync-status "
      + "dead --account acme, then requeue or discard them"
    // The account without a name is rubbish in the queue, and pushes nothing.
    let one = verdict(1, known: [account("", 3 << 20), account("acme", 2 << 20), account("other", 1)])
    #expect(one.isInSync && !one.isWell)
    #expect(untaken(one) == [acme, untakenByNode])
    #expect(notes(one) == ["3 payloads are dead letters"])
    let names = ["acme", "b", "c", "d"].map { account($0, 2 << 20) }
    let many = untaken(verdict(5, dead: 8 << 20, known: names))
    #expect(many.first == acme && many.count == 6)
    #expect(
      many[3...] == [
        "pushes of another 2 accounts aren't accepted (too_many_dead_letters in shard 0). See sync-status dead",
        "dead letters take 8.0 MiB of the 16.0 MiB that shard 0 has for payloads: see sync-status dead, then requeue or "
          + "discard them", untakenByNode,
      ])
    #expect(
      untaken(verdict(1, known: [])).first
        == "pushes of 1 account aren't accepted (too_many_dead_letters in shard 0). See sync-status dead")
    #expect(untaken(verdict(0, dead: 4 << 20, known: names)) == [untakenByNode])
  }

  @Test func `a node in sync that isn't ready says why`() {
    let unready = verdict {
      $0.ready = false
      $0.state = .notReady
      $0.reasons = ["the queue is away", "the disk is full"]
    }
    #expect(unready.isInSync)
    #expect(notes(unready) == ["node-1 isn't ready: the queue is away; the disk is full"])
    #expect(notes(verdict { $0.ready = false }) == ["node-1 isn't ready: it doesn't say why"])
  }

  @Test func `a node that drains is in sync and says so`() {
    let verdict = verdict {
      $0.ready = false
      $0.state = .draining
      $0.reasons = ["draining"]
    }
    #expect(verdict.isInSync)
    #expect(notes(verdict) == ["node-1 is draining"])
  }

  @Test func `workers don't decide, but are told of`() {
    let broken = Sample.worker("worker-2") {
      $0.state = .trouble
      $0.lastError = "the disk is full"
    }
    let verdict = FleetVerdict(
      Sample.facts(workers: [
        Sample.member(Sample.worker("worker-1"), age: 14), Sample.member(broken),
        Sample.member(Sample.worker("worker-3") { $0.state = .trouble }),
        Sample.member(Sample.worker("worker-4"), clash: 1),
        Sample.member(Sample.worker("worker-5"), age: 99, stopped: true),
      ]))
    #expect(verdict.isInSync)
    #expect(
      notes(verdict) == [
        "worker-1 has been silent for 14 s", "worker-2 has a problem: the disk is full",
        "worker-3 has a problem: unknown, see its log",
        "worker-4 shares its name with another live process: give each worker a name of its own",
      ])
  }

  @Test func `payloads that nobody takes are told of`() {
    for workers in [[], [Sample.member(Sample.worker(), age: 2, stopped: true)]] {
      #expect(
        notes(FleetVerdict(Sample.facts(workers: workers)))
          == ["no worker is running, and 17 payloads wait in the queue"])
    }
    let one = QueueTotals(pending: 1, later: 0, claimed: 0, dead: 0)
    #expect(
      notes(FleetVerdict(Sample.facts(workers: []) { $0.onlyShard = .known(one) }))
        == ["no worker is running, and 1 payload waits in the queue"])
    let empty = QueueTotals(pending: 0, later: 0, claimed: 0, dead: 0)
    #expect(notes(FleetVerdict(Sample.facts(workers: []) { $0.onlyShard = .known(empty) })) == [])
  }

  @Test(arguments: [(1, "1 payload is a dead letter"), (1_200, "1,200 payloads are dead letters")])
  func `dead letters are told of`(count: Int64, words: String) {
    let figures = QueueTotals(pending: 0, later: 0, claimed: 0, dead: count)
    #expect(notes(FleetVerdict(Sample.facts { $0.onlyShard = .known(figures) })) == [words])
  }

  @Test func `what can't be read is told of and not taken for nothing`() {
    let verdict = FleetVerdict(
      Sample.facts {
        $0.onlyShard = .unreadable("Redis answered: WRONGTYPE")
        $0.redis = .unreadable("Redis answered: NOPERM")
      })
    #expect(verdict.isInSync)
    #expect(
      notes(verdict) == [
        "the queue can't be read: Redis answered: WRONGTYPE",
        "Redis's settings can't be read (Redis answered: NOPERM): unknown whether it evicts keys. Allow INFO for "
          + "sync-status's Redis user",
      ])
  }

  @Test func `different builds are told of, the most common first`() {
    let nodes = (1...6).map { number in
      Sample.member(Sample.node("node-\(number)") { $0.build = number == 6 ? "v2" : "v1" })
    }
    let workers = [
      Sample.member(Sample.worker { $0.build = "v2" }),
      Sample.member(Sample.worker("worker-0") { $0.build = "v0" }, age: 60),
    ]
    #expect(
      notes(FleetVerdict(Sample.facts(nodes: nodes, workers: workers)))
        .contains("builds differ: node-1, node-2, node-3 and 2 more run v1; node-6 and worker-1 run v2"))
  }

  @Test func `a wrong clock is told of`() {
    let verdict = FleetVerdict(
      Sample.facts(
        nodes: [Sample.member(Sample.node { $0.reportedAt = Sample.now - 3_600 - 0.5 })],
        workers: [Sample.member(Sample.worker { $0.reportedAt = Sample.now + 20 })]))
    #expect(verdict.isInSync)
    let consequence = "times in its logs and payloads are wrong. Check NTP"
    #expect(
      notes(verdict) == [
        "node-1's clock is 1 h behind Redis's: \(consequence)",
        "worker-1's clock is 20 s ahead of Redis's: \(consequence)",
      ])
    #expect(notes(self.verdict { $0.reportedAt = Sample.now - 5.4 }) == [])
  }

  @Test func `a Redis that may drop any key is wrong, and one that drops only keys with an expiry isn't`() {
    func verdict(_ policy: String) -> FleetVerdict {
      var redis = Sample.redis
      redis.evictionPolicy = policy
      return FleetVerdict(Sample.facts { $0.redis = .known(redis) })
    }
    for policy in ["allkeys-lru", "allkeys-lfu", "allkeys-random", "allkeys-lrm"] {
      #expect(!verdict(policy).isInSync)
      #expect(verdict(policy).problems.first?.text.contains("maxmemory-policy \(policy)") ?? false)
    }
    for policy in ["noeviction", "volatile-lru", "volatile-ttl"] { #expect(verdict(policy).isInSync) }
  }

  @Test func `where INFO is denied, what nodes report of the eviction policy counts`() {
    func verdict(_ policy: String?, _ change: (inout FleetFacts) -> Void = { _ in }) -> FleetVerdict {
      let node = Sample.node { $0.queue.shards[0].evictionPolicy = policy }
      return FleetVerdict(
        Sample.facts(nodes: [Sample.member(node)]) {
          $0.redis = .unreadable("Redis answered: NOPERM no INFO")
          change(&$0)
        })
    }
    let unsafe = verdict("allkeys-lru")
    #expect(!unsafe.isInSync)
    #expect(
      wrong(unsafe) == [
        "Redis evicts keys, as node-1 reports (maxmemory-policy allkeys-lru): payloads and API keys are lost when its "
          + "memory is full; set noeviction"
      ])
    #expect(
      notes(verdict("noeviction")) == [
        "Redis's settings can't be read (Redis answered: NOPERM no INFO); nodes report maxmemory-policy noeviction"
      ])
    #expect(verdict("noeviction").isWell && verdict("volatile-lru").isInSync)
    let unknown = verdict(nil)
    #expect(unknown.isWell)
    #expect(
      notes(unknown) == [
        "Redis's settings can't be read (Redis answered: NOPERM no INFO): unknown whether it evicts keys. Allow INFO for "
          + "sync-status's Redis user"
      ])
    // Redis's settings as read by the command itself overrule a report of a second ago.
    #expect(verdict("allkeys-lru") { $0.redis = .known(Sample.redis) }.isInSync)
    // Nor does a report that is a minute old.
    let silent = FleetVerdict(
      Sample.facts(
        nodes: [Sample.member(Sample.node { $0.queue.shards[0].evictionPolicy = "allkeys-lru" }, age: 60)]
      ) { $0.redis = .unreadable("no INFO") })
    #expect(wrong(silent) == ["node-1 has been silent for 1 min"])
  }

  @Test func `each shard's Redis that a node reports to evict keys is wrong once`() {
    let nodes = (1...3).map { number in
      Sample.member(
        Sample.node("node-\(number)") {
          $0.queue.shards = (0..<3).map { shard in
            var report = Sample.shard
            (report.shard, report.evictionPolicy) = (shard, shard == 0 ? "noeviction" : "allkeys-random")
            return report
          }
        })
    }
    let verdict = FleetVerdict(
      Sample.facts(nodes: nodes) {
        // Everything about the second shard can be read from here, and nothing about the third.
        $0.shards = Sample.shards
        $0.shards[1].redis = .known(Sample.redis)
        $0.shards[2].redis = .unreadable("no INFO")
      })
    #expect(wrong(verdict).count == 1)
    #expect(wrong(verdict).first?.hasPrefix("the Redis of shard 2 of the queue evicts keys, as node-1 reports") == true)
  }

  @Test func `a member that ended by an error is wrong, and one that was told to end isn't`() {
    let why = "can't listen at 127.0.0.1:8080: Address already in use"
    let node = Sample.member(Sample.node("node-2") { $0.fatalError = why }, age: 90, stopped: true)
    let worker = Sample.member(
      Sample.worker("worker-2") { $0.fatalError = "the disk is full" }, age: 7_200, stopped: true)
    let verdict = FleetVerdict(
      Sample.facts(
        nodes: [Sample.member(Sample.node()), node], workers: [Sample.member(Sample.worker(), age: 1), worker]))
    #expect(verdict.isInSync && !verdict.isWell)
    #expect(
      untaken(verdict) == [
        "node-2 ended by an error 1 min ago: \(why). Start it again, or take it off the list: sync-status forget node node-2",
        "worker-2 ended by an error 2 h ago: the disk is full. Start it again, or take it off the list: "
          + "sync-status forget worker worker-2",
      ])
    let ended = Sample.member(Sample.node("node-2"), age: 90, stopped: true)
    #expect(FleetVerdict(Sample.facts(nodes: [Sample.member(Sample.node()), ended])).isWell)
    // As it is when a service fails and the others haven't ended yet.
    let failing = Sample.member(Sample.node { $0.fatalError = why })
    #expect(FleetVerdict(Sample.facts(nodes: [failing])).isWell)
  }

  @Test func `a Redis that would lose what it was given is told of`() {
    func notes(_ change: (inout RedisFacts) -> Void) -> [String] {
      var redis = Sample.redis
      change(&redis)
      return self.notes(FleetVerdict(Sample.facts { $0.redis = .known(redis) }))
    }
    #expect(notes { $0.evictionPolicy = "volatile-lru" }.first?.contains("keys that expire") ?? false)
    #expect(notes { $0.evictionPolicy = "allkeys-lru" } == [])
    #expect(notes { $0.usedBytes = $0.limitBytes / 100 * 97 } == ["Redis is 96% full: 3.9 GiB of 4.0 GiB"])
    #expect(notes { $0.usedBytes = $0.limitBytes / 100 * 89 } == [])
    #expect(notes { $0.limitBytes = 0 } == [])
    #expect(notes { $0.savingFails = true } == ["Redis can't write to its disk: see its log"])
    #expect(notes { $0.role = "slave" } == ["this Redis is a replica: what it shows may be old; ask the primary"])
  }
}
