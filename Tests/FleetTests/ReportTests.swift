import Foundation
import Testing

@testable import Fleet
@testable import KeyReplica

struct ReportTests {
  @Test func `a node's report is the JSON that is promised`() throws {
    #expect(
      String(decoding: try Sample.node().json(), as: UTF8.self) == """
        {"accounts":10,"answers":{"200":1,"202":12345,"401":5,"403":2,"503":3},\
        "barrier":{"proven":7,"reads":7,"timed_out":0,"waiting":0},"build":"v1",\
        "completeness":{"state":"complete","total":1024,"verified":1024},"connections":null,"epoch":"e1","fatal_error":null,\
        "freshness_seconds":0.25,\
        "held_back":0,"instance":"00000000000000aa","keys":1000000,\
        "last_minute":{"not_taken":1,"reasons":{"queue_away":1},"taken":60},"listen":"127.0.0.1:8080","name":"node-1",\
        "outcomes":{"invalid":1,"limited":2,"not_taken":3,"refused":7,"taken":12346},\
        "queue":{"batches":3,"durability":"fsync before each answer","in_flight_bytes":0,"moved_batches":0,"pushed":12346,\
        "shards":[{"admits":true,"bytes":34000,"dead_bytes":1000,"drain_per_second":812.5,"durability":"fsync before each answer",\
        "durability_lack":null,"entries":17,"eviction_policy":null,"memory":1048576,"memory_limit":0,"over_limit":null,"read_seconds":0.5,\
        "redis":"redis://127.0.0.1:6379","refused_accounts":0,"room_bytes":1048576,"shard":0}],"state":"connected","waiting":0},\
        "ready":true,"reasons":[],"recent_keys":{"admitted":0,"confirmed":0,"storm":false,"unknown":0},"refusals_blocked":null,"registration_error":null,\
        "reported_at":1699999999.5,"revived":0,"sealed":true,"source":null,"spool":null,\
        "started_at":1699991959.5,"state":"ready","store":null,\
        "store_version":1000100,"vanished":0,"version":1000100,"violations":0,"wrong_store":null}
        """)
  }

  @Test func `a node's spool is in its report where it has one`() throws {
    let node = Sample.node { $0.spool = Sample.spool }
    #expect(
      String(decoding: try node.json(), as: UTF8.self).contains(
        #""spool":{"bytes":2048,"entries":3,"limit_bytes":1073741824,"oldest_seconds":90,"reason":null,"#
          + #""set_aside":0,"set_aside_bytes":0,"state":"open"},"#
      ))
    #expect(try NodeReport(json: node.json()) == node)
    // One of a build that had none.
    let text = String(decoding: try Sample.node().json(), as: UTF8.self).replacing("\"spool\":null,", with: "")
    #expect(try NodeReport(json: Array(text.utf8)) == Sample.node())
  }

  @Test func `a node's connections are in its report where they are known`() throws {
    let node = Sample.node { $0.connections = .init(open: 3, limit: 749, evicted: 2, descriptorLimit: 1_024) }
    #expect(
      String(decoding: try node.json(), as: UTF8.self).contains(
        #""connections":{"descriptor_limit":1024,"evicted":2,"limit":749,"open":3},"#))
    #expect(try NodeReport(json: node.json()) == node)
  }

  @Test func `a worker's report is the JSON that is promised`() throws {
    #expect(
      String(
        decoding: try Sample.worker {
          $0.lastError = "no \"space\""
          $0.troubles = ["shard 1: no \"space\""]
        }.json(), as: UTF8.self) == """
          {"build":"v1","dead":0,"discarded":0,"duplicates":8,"fatal_error":null,"in_hand":64,"instance":"00000000000000bb","last_error":"no \\"space\\"",\
          "name":"worker-1","per_second":812.4,"processed":12000,"reported_at":1699999999,"retried":2,\
          "sink":"sqlite:/var/lib/sluice/rows.db","started_at":1699999820,"state":"working","stored":11990,\
          "troubles":["shard 1: no \\"space\\""]}
          """)
  }

  @Test func `what isn't known is null, and comes back as not known`() throws {
    let node = Sample.node {
      $0.sealed = nil
      $0.accounts = nil
      $0.storeVersion = nil
      $0.epoch = nil
      $0.freshnessSeconds = nil
      $0.queue.durability = nil
    }
    let text = String(decoding: try node.json(), as: UTF8.self)
    for name in ["sealed", "accounts", "store_version", "epoch", "freshness_seconds", "durability"] {
      #expect(text.contains("\"\(name)\":null"))
    }
    #expect(try NodeReport(json: node.json()) == node)
    let worker = Sample.worker()
    #expect(String(decoding: try worker.json(), as: UTF8.self).contains("\"last_error\":null"))
    #expect(try WorkerReport(json: worker.json()) == worker)
  }

  @Test func `every state comes back as itself`() throws {
    for state in NodeReport.State.allCases {
      #expect(try NodeReport(json: Sample.node { $0.state = state }.json()).state == state)
    }
    for state in Completeness.State.allCases {
      let node = Sample.node { $0.completeness.state = state }
      #expect(try NodeReport(json: node.json()).completeness.state == state)
    }
    for state in WorkerReport.State.allCases {
      #expect(try WorkerReport(json: Sample.worker { $0.state = state }.json()).state == state)
    }
  }

  @Test func `a field of a later build is ignored`() throws {
    let text = String(decoding: try Sample.node().json(), as: UTF8.self)
    let later = text.replacing("{\"accounts\"", with: "{\"a\":1,\"accounts\"")
    #expect(later != text)
    #expect(try NodeReport(json: Array(later.utf8)) == Sample.node())
  }

  @Test func `the highest version survives`() throws {
    let node = Sample.node { $0.version = .max }
    #expect(try NodeReport(json: node.json()).version == .max)
  }

  @Test func `a number that isn't one is an error, not a report`() {
    #expect(throws: EncodingError.self) { try Sample.node { $0.freshnessSeconds = .nan }.json() }
  }

  @Test func `a report says what the replica says of itself`() {
    func report(_ mirror: ReplicaStatus) -> NodeReport {
      NodeReport(
        name: "n", build: "b", instance: "i", state: .ready, ready: true, reasons: [], mirror: mirror, answers: [:],
        outcomes: .init(), proven: 7, timedOut: 3, queue: Sample.node().queue, startedAt: 1, reportedAt: 2, listen: "l")
    }
    var status = ReplicaStatus(
      completeness: Completeness(state: .guarded, verified: 7, total: 8), sealed: true, keys: 3, accounts: 2,
      epoch: "e9", version: 5, storeVersion: 6, age: .milliseconds(1_500), objection: .unfenced("nobody answers"),
      barrierReads: 11, barrierWaiting: 4, quarantined: 12, vanished: 5, revived: 6,
      store: StoreIdentity(id: "77ab", name: "production"),
      wrongStore: WrongStore(expected: "production", met: "staging", command: "key-publisher adopt 77ab"),
      violations: 13, recentKeys: RecentKeyCounts(unknown: 21, admitted: 4, confirmed: 9, isStorm: true))
    var node = report(status)
    #expect(node.completeness == .init(state: .guarded, verified: 7, total: 8))
    #expect(node.sealed == true && node.epoch == "e9" && node.freshnessSeconds == 1.5)
    #expect(node.keys == 3 && node.accounts == 2 && node.version == 5 && node.storeVersion == 6)
    #expect(node.refusalsBlocked?.contains("nobody answers") == true)
    #expect(node.heldBack == 12 && node.violations == 13 && node.vanished == 5 && node.revived == 6)
    #expect(node.store == .init(id: "77ab", name: "production") && node.wrongStore == status.wrongStore)
    #expect(node.recentKeys == .init(unknown: 21, admitted: 4, confirmed: 9, storm: true))
    #expect(node.barrier == .init(reads: 11, waiting: 4, proven: 7, timedOut: 3))
    #expect(node.source == nil)

    // A stale mark that isn't why refusals are suspended isn't called stale.
    let mark = SourceMark(moment: 1_000_000, version: 5, maxAge: .seconds(60), readAt: 71_000_000)
    status.source = mark
    status.proveAgainst = .source
    let source = NodeReport.Source(
      markedAt: 1, ageSeconds: 70, maxAgeSeconds: 60, proveAgainst: .source, stale: false)
    #expect(report(status).source == source)
    status.objection = .sourceStale(mark)
    node = report(status)
    #expect(node.source?.stale == true && node.refusalsBlocked?.contains("70 s old") == true)
    status.source = SourceMark()
    #expect(report(status).source?.markedAt == nil)

    status.storeVersion = nil
    status.sealed = false
    status.age = nil
    status.objection = nil
    node = report(status)
    #expect(node.sealed == nil && node.freshnessSeconds == nil && node.refusalsBlocked == nil)
  }

  @Test func `an instance has a name of sixteen digits of its own`() {
    let names = (0..<100).map { _ in InstanceID.random() }
    #expect(Set(names).count == 100)
    #expect(names.allSatisfy { $0.count == 16 && $0.allSatisfy(\.isHexDigit) })
  }
}
