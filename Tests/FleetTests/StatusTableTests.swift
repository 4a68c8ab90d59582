import Fleet
import KeyReplica
import Testing

struct StatusTableTests {
  private func page(_ facts: FleetFacts, colours: Bool = false) -> String {
    StatusTable(facts, FleetVerdict(facts), place: "redis://127.0.0.1:6379, namespace sluice", colours: colours)
      .render()
  }

  @Test func `a fleet in sync`() {
    #expect(
      page(Sample.facts()) == """
        IN SYNC: 1 of 1 node in sync

        STORE
          unnamed, ID e1
          1,000,000 keys at version 1,000,100, sealed, epoch e1
          in redis://127.0.0.1:6379, namespace sluice
          Redis 7.0.15, 1.0 GiB of 4.0 GiB used, noeviction, append-only file on

        NODES
          NAME    STATE  IN SYNC  MIRROR         KEYS    VERSION  STORE READ  ACCEPTED  REFUSED  LIMITED  UNAVAILABLE  QUEUE       REPORTED          UP  BUILD
          node-1  ready  yes      complete  1,000,000  1,000,100   0.7 s ago    12,346        7        2            3  connected  0.5 s ago  2 h 14 min  v1
          queue durability: fsync before each answer

        WORKERS
          NAME      STATE    STORED  DUPLICATES  RETRIED  DEAD  CLAIMED  PER SECOND  SINK                            REPORTED     UP  BUILD
          worker-1  working  11,990           8        2     0       64         812  sqlite:/var/lib/sluice/rows.db   1 s ago  2 min  v1

        QUEUE
          17 waiting (the oldest for 1.5 s), 64 claimed, 2 to be tried again, 0 dead letters

        """)
  }

  @Test func `what is wrong comes first`() {
    let loading = Sample.node("node-1") {
      $0.state = .notReady
      $0.ready = false
      $0.completeness = .init(state: .loading, verified: 512, total: 1_024)
      $0.keys = 499_000
      $0.version = 1_000_090
      $0.freshnessSeconds = nil
      $0.outcomes = .init()
      $0.queue.state = .away
      $0.startedAt = $0.reportedAt - 3
    }
    let facts = Sample.facts(
      nodes: [
        Sample.member(loading), Sample.member(Sample.node("node-2"), age: 14),
        Sample.member(Sample.node("node-10"), age: 90, stopped: true),
        Sample.member(Sample.node("node-11"), age: 7_200, stopped: true),
      ], workers: []
    ) {
      $0.onlyShard = .known(QueueTotals(pending: 0, later: 0, claimed: 0, dead: 1))
      $0.redis = .known(
        RedisFacts(
          program: "Valkey", version: "9.1.0", role: "master", usedBytes: 2_000_000, limitBytes: 0,
          evictionPolicy: "allkeys-lru", appendsToFile: false, savingFails: false))
    }
    #expect(
      page(facts) == """
        NOT IN SYNC: 0 of 2 nodes in sync
          wrong: Redis evicts keys (maxmemory-policy allkeys-lru): payloads and API keys are lost when its memory is full; set noeviction
          wrong: node-1 has verified 512 of 1,024 buckets
          wrong: node-2 has been silent for 14 s
          wrong: node-1 can't reach the queue: it answers 503
          note:  1 payload is a dead letter

        STORE
          unnamed, ID e1
          1,000,000 keys at version 1,000,100, sealed, epoch e1
          in redis://127.0.0.1:6379, namespace sluice
          Valkey 9.1.0, 1.9 MiB used, no limit, allkeys-lru, append-only file off

        NODES
          NAME     STATE      IN SYNC  MIRROR                  KEYS    VERSION  STORE READ  ACCEPTED  REFUSED  LIMITED  UNAVAILABLE  QUEUE       REPORTED          UP  BUILD
          node-1   not ready  no       loading 512/1,024    499,000  1,000,090       never         0        0        0            0  away       0.5 s ago         3 s  v1
          node-2   silent     no       complete           1,000,000  1,000,100    14 s ago    12,346        7        2            3  connected   14 s ago  2 h 14 min  v1
          node-10  stopped    -        complete           1,000,000  1,000,100   1 min ago    12,346        7        2            3  connected  1 min ago  2 h 14 min  v1
          and 1 more that ended within the last day
          queue durability: fsync before each answer

        WORKERS
          none

        QUEUE
          0 waiting, 0 claimed, 0 to be tried again, 1 dead letter

        """)
  }

  @Test func `a queue of several shards has a sum, what is missing from it, and the fullest`() {
    let lines = page(Sample.facts { $0.shards = Sample.shards }).split(separator: "\n")
    #expect(
      lines.suffix(3) == [
        "  740 waiting (the oldest for 9 s), 5 claimed, 1 to be tried again, 2 dead letters",
        "  in 2 of 3 shards; the others aren't known",
        "  most in shard 2, in redis://h3:6379: 700 waiting (the oldest for 3 s), 1 claimed, "
          + "0 to be tried again, 2 dead letters",
      ])
    #expect(
      lines.contains("  note:  shard 1 of the queue, in redis://h2:6379, can't be read: not connected to Redis"))
  }

  @Test func `nodes that acknowledge for less are told apart`() {
    let nodes = [("node-1", "fsync before each answer"), ("node-2", nil), ("node-3", "fsync before each answer")].map {
      name, durability in Sample.member(Sample.node(name) { $0.queue.durability = durability })
    }
    #expect(
      page(Sample.facts(nodes: nodes)).contains(
        "\n  queue durability: fsync before each answer (2 nodes); not known yet (1 node)\n"))
  }

  @Test func `a fleet of which nothing is known says none, and not zero`() {
    let facts = Sample.facts(nodes: [], workers: []) {
      $0.store = nil
      $0.storeAfter = nil
      $0.onlyShard = .unreadable("Redis answered: NOPERM")
      $0.redis = .unreadable("Redis answered: NOPERM")
    }
    #expect(
      page(facts) == """
        NOT IN SYNC: 0 of 0 nodes in sync
          wrong: there is no key store in this Redis and namespace: run key-publisher import
          wrong: no node has reported
          note:  the queue can't be read: Redis answered: NOPERM
          note:  Redis's settings can't be read (Redis answered: NOPERM): unknown whether it evicts keys. Allow INFO for sync-status's Redis user

        STORE
          none
          in redis://127.0.0.1:6379, namespace sluice
          Redis's settings aren't known

        NODES
          none

        WORKERS
          none

        QUEUE
          not known

        """)
  }

  @Test func `colours change nothing but the colour`() {
    let facts = Sample.facts(nodes: [
      Sample.member(Sample.node()), Sample.member(Sample.node("node-2") { $0.queue.state = .away }, age: 14),
    ])
    let coloured = page(facts, colours: true)
    #expect(coloured.contains("\u{1B}[1;31mNOT IN SYNC\u{1B}[0m"))
    #expect(coloured.contains("\u{1B}[32myes\u{1B}[0m"))
    #expect(coloured.replacing(/\u{1B}\[[0-9;]*m/, with: "") == page(facts))
    #expect(!page(facts).contains("\u{1B}"))
  }

  @Test func `a report can't command the terminal`() {
    let evil = "v1\u{1B}[2J\nIN SYNC"
    let node = Sample.node {
      $0.build = evil
      $0.ready = false
      $0.reasons = [evil]
      $0.epoch = evil
    }
    let worker = Sample.worker {
      $0.sink = evil
      $0.state = .trouble
      $0.lastError = evil
    }
    let facts = Sample.facts(
      nodes: [Sample.member(node)], workers: [Sample.member(worker)],
      unreadable: [UnreadableMember(kind: nil, name: evil, reason: evil)]
    ) { $0.store?.epoch = evil }
    let page = page(facts)
    #expect(!page.contains("\u{1B}"))
    #expect(page.split(separator: "\n").count { $0.hasPrefix("IN SYNC") } == 1)
  }
}
