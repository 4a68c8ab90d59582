// Keys that end by themselves, on a real Redis: the publisher's verbs and lists, and a node's verdicts.

import Foundation
import KeyReplica
import Logging
import NIOCore
import NIOPosix
import RedisFixture
import Testing

@testable import KeyStore

@Suite(.timeLimit(.minutes(2))) struct ExpiryTests {
  private static var now: Int64 { Int64(Date().timeIntervalSince1970) }

  private func record(_ store: StoreBench, _ secret: String) async throws -> KeyRecord? {
    try await store.connection.storedRecord(of: KeyID(secret: secret.utf8), store.layout)
  }

  private func publication(_ store: StoreBench, sync: Bool = true) -> Publication {
    Publication(connection: store.connection, layout: store.layout, terms: .init(revokesUnlisted: sync))
  }

  @Test func `put gives an expiry, keeps it and removes it; get and list show it`() async throws {
    try await StoreBench.with { store in
      let put = ["put", "--key", "a", "--account", "acme"]
      var run = try await PublisherRun.of(store, put + ["--expires-at", "2126-11-20T12:00:00+01:00"])
      #expect(run.status == .exited(0) && run.output.contains("and ends at 2126-11-20T11:00:00Z"), "\(run)")
      run = try await PublisherRun.of(store, put)
      #expect(run.status == .exited(0) && run.output.contains("already"), "\(run)")
      run = try await PublisherRun.of(store, ["get", "a"])
      #expect(run.output.contains("; ends at 2126-11-20T11:00:00Z"), "\(run)")
      run = try await PublisherRun.of(store, ["get", "a", "--json"])
      #expect(try run.json.expiresAt == 4_950_846_000, "\(run)")
      run = try await PublisherRun.of(store, ["list"])
      #expect(run.output.hasSuffix(",acme,active,,4950846000"), "\(run)")
      run = try await PublisherRun.of(store, put + ["--expires-at", "never"])
      #expect(run.status == .exited(0), "\(run)")
      #expect(try await record(store, "a")?.expiresAt == nil)
      for wrong in ["tomorrow", "2026-11-20", "1795176000000"] {
        run = try await PublisherRun.of(store, put + ["--expires-at", wrong])
        #expect(run.status == .exited(64) && run.errors.contains("2026-12-31T23:59:59Z"), "\(run)")
      }
      #expect(try await store.discrepancies() == [])
    }
  }

  @Test func `a list shows and counts the keys that it would expire at once, and the guard stops it`() async throws {
    try await StoreBench.with { store in
      try await store.put((0..<100).map { "key\($0)" })
      let past = Self.now - 60
      let lines = (0..<100).map { "key\($0),acme,\($0 < 10 ? "\(past)" : $0 < 30 ? "2126-01-01T00:00:00Z" : "")\n" }
      let list = try KeyListSpoolTests.spool("key,account,expires_at\n" + lines.joined())
      let plan = try await publication(store).plan(for: list)
      #expect(plan[.listedExpired] == 10 && plan.count == 10 && plan.active == 100)
      #expect(plan.effects[.expired] == 10 && plan.effects[.expiryChanged] == 20 && plan.effects[.unchanged] == 70)
      #expect(!plan.isWithin(percent: 5) && plan.isWithin(percent: 10))

      let folder = try TemporaryFolder()
      try Data(("key,account,expires_at\n" + lines.joined()).utf8).write(to: folder.url("list"))
      let whole = ["sync", folder.path("list"), "--expect", "100"]
      var run = try await PublisherRun.of(store, whole + ["--dry-run", "--max-revoked", "10"])
      #expect(run.output.contains("expires 10 at once, changes the expiry of 20"), "\(run)")
      run = try await PublisherRun.of(store, whole)
      #expect(run.status == .exited(3) && run.errors.contains("would expire at once"), "\(run)")
      #expect(try await record(store, "key0")?.expiresAt == nil)
      run = try await PublisherRun.of(store, whole + ["--max-revoked", "10"])
      #expect(run.status == .exited(0), "\(run)")
      #expect(try await record(store, "key0")?.expiresAt == past)

      // From then on they aren't lost any more, whatever becomes of them.
      let rest = try KeyListSpoolTests.spool("key,account\n" + (10..<100).map { "key\($0),acme\n" }.joined())
      let next = try await publication(store).plan(for: rest)
      #expect(next.count == 0 && next.active == 90 && next.effects[.revoked] == 10)
      let outcome = try await publication(store).carryOut(rest, agreed: next)
      #expect(outcome.edits?.changed == 10 && outcome.edits?[.unagreed] == 0)
      #expect(try await store.state(of: "key0") == .revoked)
      #expect(try await record(store, "key20")?.expiresAt == 4_922_899_200)
      #expect(try await store.discrepancies() == [])
    }
  }

  @Test func `keys listed twice with different ends are a problem`() throws {
    #expect(throws: KeyListSpool.BadList.self) {
      try KeyListSpoolTests.spool("key,account,expires_at\na,acme,5\na,acme,6\n")
    }
    let same = try KeyListSpoolTests.spool("key,account,expires_at\na,acme,5\na,acme,1970-01-01T00:00:05Z\nb,acme,\n")
    let entries = try (0..<KeyListSpool.partitionCount).flatMap { try same.entries(ofPartition: $0) }
    #expect(Set(entries.map(\.expiry)) == [.set(5), .remove])
  }

  @Test func `a node admits a key until Redis's clock has reached its end, and refuses it then`() async throws {
    try await StoreBench.with { store in
      try await store.put(["stays"])
      _ = try await store.writer.apply([.put("ends")])
      _ = try await store.writer.seal()
      var logger = Logger(label: "replica")
      logger.logLevel = .critical
      let driver = ReplicaDriver(
        endpoint: store.redis.endpoint, layout: store.layout, name: "test",
        on: MultiThreadedEventLoopGroup.singleton.any(), logger: logger)
      driver.start()
      defer { driver.stop() }
      try await driver.canRefuse(within: .seconds(10)).get()
      let key = KeyID(secret: "ends".utf8)
      let end = Self.now + 2
      _ = try await store.writer.apply([
        KeyEdit(key: key, kind: .put(account: "acme", .active), expiry: .set(end))
      ])
      func time() async throws -> UInt64 {
        try await SourceMarks(connection: store.connection, layout: store.layout).time()
      }
      var admissions = 0
      while true {
        let before = try await time()
        let verdict = try await driver.verdict(of: key).get()
        let after = try await time()
        switch verdict {
        case .admit:
          admissions += 1
          #expect(before < UInt64(end) * 1_000_000 + 1_000_000, "admitted a second after its end")
        case .refuse(let reason, _):
          #expect(reason == .expiredKey && after >= UInt64(end) * 1_000_000)
        case .undecided(let why): Issue.record("undecided: \(why)")
        }
        if case .admit = verdict {} else { break }
        try await Task.sleep(for: .milliseconds(5))
      }
      #expect(admissions > 0)
      // The clock for admissions is some milliseconds coarse.
      try await eventually("it isn't admitted without a read any more") { driver.admits(key) == nil }
      #expect(driver.admits(KeyID(secret: "stays".utf8)) == "acme")
      _ = try await store.writer.apply([
        KeyEdit(key: key, kind: .put(account: "acme", nil), expiry: .set(end + 1000))
      ])
      try await eventually("it is admitted again") { driver.admits(key) == "acme" }
    }
  }
}
