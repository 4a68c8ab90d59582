// Two stores and one outbox, with a real PostgreSQL and two real Redis servers. A follower must never delete changes
// that another store needs.

import Foundation
import Hiredis
import KeyReplica
import KeyStore
import RedisClient
import RedisFixture
import Testing

@testable import SourceFollower

@Suite(.timeLimit(.minutes(5))) struct OutboxClaimTests {
  private static let quick = FollowBench.columns + ["--mark-every", "100ms"]

  @Test func `a follower of another store is refused with the reason, and takes no change`() async throws {
    let bench = try await FollowBench(keys: 10)
    let former = try await bench.follow(["--name", "production"])
    try await bench.becomesEqual()
    former.terminate()
    #expect(try await former.waitForExit() == .exited(0), "\(former.outputs)")
    try await bench.postgres.query("INSERT INTO api_keys VALUES ('sk_new', 'acme')")

    let other = try await bench.beside()
    let store = try #require(try await bench.store())
    func expectRefused(_ found: String) async throws {
      // Installing again changes nothing.
      let stranger = try await other.start(Self.quick + ["--install"])
      #expect(try await stranger.waitForExit() == .exited(1), "\(stranger.outputs)")
      try await stranger.waitForOutputs()
      let errors = stranger.standardError.text
      #expect(errors.contains("is tied to the store production (ID \(store.id))"), "\(errors)")
      #expect(errors.contains(found), "\(errors)")
      #expect(errors.contains("key-publisher adopt \(store.id)"), "\(errors)")
      #expect(errors.contains("once with --move-outbox"), "\(errors)")
      #expect(try await bench.waiting() == 1)
    }
    try await expectRefused("found no store")
    #expect(try await other.store() == nil)
    try await other.publisher("create", "--name", "staging")
    try await expectRefused("found staging (ID ")
    #expect(try await other.state("sk_1") == nil)
    // The lease of the other store is released.
    #expect(try await other.redis.run("EXISTS", "sluice:{keys}:lease").integer() == 0)

    let follower = try await bench.start(Self.quick)
    try await bench.becomesEqual()
    #expect(try await bench.state("sk_new") == .active)
    #expect(try await bench.differences() == [])
    try await eventually("the outbox is empty") { try await bench.waiting() == 0 }
    follower.terminate()
  }

  @Test func `a store that replaces another one gets the outbox, and the other one's follower stops`() async throws {
    let bench = try await FollowBench(keys: 10)
    let former = try await bench.follow(["--name", "old"])
    try await bench.becomesEqual()
    let other = try await bench.beside()
    try await other.publisher("create", "--name", "new")
    // By its name; by its ID in FollowTests.
    try await other.publisher("adopt", "old")
    let follower = try await other.follow()
    try await former.waitForLine(containing: "is tied to the store new (ID ")
    let time = try await bench.time()
    for number in 0..<20 {
      try await bench.postgres.query("INSERT INTO api_keys VALUES ('sk_new_\(number)', 'acme')")
    }
    try await other.becomesEqual()
    #expect(try await other.differences() == [])
    try await eventually("the outbox is empty") { try await bench.waiting() == 0 }
    // The former store lacks the new keys, so it isn't marked.
    #expect(try await bench.state("sk_new_0") == nil)
    #expect(try await !bench.mark().covers(time))
    former.terminate()
    follower.terminate()
  }

  @Test func `an operator moves an outbox to another store, and back`() async throws {
    let bench = try await FollowBench(keys: 10)
    let former = try await bench.follow(["--name", "production"])
    try await bench.becomesEqual()
    let other = try await bench.beside()
    let move = FollowBench.columns + ["--move-outbox"]
    let early = try await other.start(move)
    #expect(try await early.waitForExit() == .exited(1), "\(early.outputs)")
    #expect(early.outputs.contains("there is no key store at this address: create it first"), "\(early.outputs)")

    try await other.publisher("create", "--name", "staging")
    let moved = try await other.start(move)
    #expect(try await moved.waitForExit() == .exited(0), "\(moved.outputs)")
    try await moved.waitForOutputs()
    #expect(moved.standardOutput.text.contains("the outbox is tied to the store staging (ID "), "\(moved.outputs)")
    try await former.waitForLine(containing: "is tied to the store staging (ID ")
    let follower = try await other.start(Self.quick)
    try await bench.postgres.query("INSERT INTO api_keys VALUES ('sk_new', 'acme')")
    try await other.becomesEqual()
    #expect(try await other.differences() == [])
    #expect(try await bench.state("sk_new") == nil)

    let back = try await bench.start(move)
    #expect(try await back.waitForExit() == .exited(0), "\(back.outputs)")
    try await follower.waitForLine(containing: "is tied to the store production (ID ")
    try await bench.becomesEqual()
    #expect(try await bench.differences() == [])
    let wrong = try await bench.start(["--query", "SELECT 1", "--move-outbox"])
    #expect(try await wrong.waitForExit() == .exited(64), "\(wrong.outputs)")
    former.terminate()
    follower.terminate()
  }

  @Test func `followers of a store and of its copy take nothing from each other unnoticed`() async throws {
    let bench = try await FollowBench(keys: 20)
    let first = try await bench.follow(["--name", "production"])
    try await bench.becomesEqual()
    let copy = try await bench.beside()
    try await copy.publisher("create", "--name", "production")
    let id = try #require(try await bench.store()).id
    try await copy.redis.run("HSET", "sluice:{keys}:meta", "store", id)
    let second = try await copy.start(Self.quick)
    try await first.waitForLine(containing: "was claimed by another session, or the store was replaced")
    try await second.waitForLine(containing: "was claimed by another session, or the store was replaced")
    for round in 0..<10 {
      try await bench.postgres.query("INSERT INTO api_keys VALUES ('sk_new_\(round)', 'acme')")
      for store in [bench, copy] {
        try await store.becomesEqual()
        // Marked since then, so it has the key.
        #expect(try await store.state("sk_new_\(round)") == .active, "round \(round)")
      }
    }
    first.terminate()
    second.terminate()
  }

  @Test func `a store that the comparison's guard has kept from the source isn't tied`() async throws {
    let bench = try await FollowBench(keys: 10)
    let other = try await bench.beside()
    try await other.publisher("create", "--name", "staging")
    try await other.with { connection in
      let edits = (1...100).map { KeyEdit(key: KeyID(secret: "other_\($0)".utf8), kind: .put(account: "a", .active)) }
      _ = try await KeyStoreWriter(connection: connection, layout: other.layout).apply(edits)
    }
    let stranger = try await other.start(Self.quick + ["--install"])
    try await stranger.waitForLine(containing: "active keys out of service")
    let follower = try await bench.follow()
    try await bench.becomesEqual()
    #expect(try await bench.differences() == [])
    #expect(stranger.status == nil)
    stranger.terminate()
    follower.terminate()
  }

  @Test func `a session that lost the outbox deletes nothing, even if its deletion has begun`() async throws {
    let bench = try await FollowBench(keys: 10)
    let follower = try await bench.follow()
    try await bench.becomesEqual()
    follower.terminate()
    _ = try await follower.waitForExit()
    try await bench.postgres.query("INSERT INTO api_keys VALUES ('sk_new', 'acme')")
    let table = try FollowedTable(
      table: "api_keys", outbox: "sluice_key_changes", key: .secret("secret"), account: "account", state: "state",
      revision: nil)
    let address = try #require(SourceAddress(bench.postgres.address))
    let database = SourceDatabase(address, deadline: .seconds(60))
    let batch = try OutboxBatch(try await database.run([table.waitingChanges]))
    let session = try #require(batch.session)
    #expect(batch.numbers.count == 1)
    try await database.run(table.removal, numbers: batch.numbers, texts: ["another"])
    #expect(try await bench.waiting() == 1)

    let holder = Task { _ = try? await bench.postgres.query("SELECT pg_advisory_lock(7), pg_sleep(120)") }
    func count(_ condition: String) async throws -> Int {
      try await bench.postgres.query(
        "SELECT pid FROM pg_stat_activity JOIN pg_locks USING (pid) WHERE \(condition)"
      ).count
    }
    try await eventually("the lock is held") { try await count("locktype = 'advisory' AND granted") == 1 }
    async let claim = bench.postgres.query(
      "BEGIN; UPDATE sluice_key_changes_store SET session = 'next'; SELECT pg_advisory_xact_lock(7); COMMIT")
    try await eventually("the next session has claimed it") {
      try await count("locktype = 'advisory' AND NOT granted") == 1
    }
    async let removal = database.run(table.removal, numbers: batch.numbers, texts: [session])
    try await eventually("the deletion waits") { try await count("query LIKE 'WITH holder%' AND NOT granted") == 1 }
    try await bench.postgres.query(
      "SELECT pg_terminate_backend(pid) FROM pg_locks WHERE locktype = 'advisory' AND granted")
    _ = try await claim
    _ = try await removal
    await holder.value
    #expect(try await bench.waiting() == 1)
    try await database.run(table.removal, numbers: batch.numbers, texts: ["next"])
    #expect(try await bench.waiting() == 0)
  }

  @Test func `the rights that --print-install names are enough`() async throws {
    let bench = try await FollowBench(keys: 5)
    let printed = try await bench.start(FollowBench.columns + ["--print-install"])
    #expect(try await printed.waitForExit() == .exited(0), "\(printed.outputs)")
    try await printed.waitForOutputs()
    let script = printed.standardOutput.text
    let grants = script.split(separator: "\n").filter { $0.hasPrefix("--   GRANT ") }.map { $0.dropFirst(5) }
    #expect(grants.count == 3)
    try await bench.postgres.query(
      "CREATE ROLE follower LOGIN PASSWORD '\(PostgresServer.password)'; \(script) \(grants.joined(separator: " "))")
    let user = "//\(PostgresServer.user):"
    #expect(bench.postgres.address.contains(user), "\(bench.postgres.address)")
    let follower = try await ServiceProcess.start(
      "key-publisher", ["follow"] + Self.quick,
      environment: [
        "SLUICE_REDIS": bench.redis.endpoint.description,
        "SLUICE_SOURCE": bench.postgres.address.replacingOccurrences(of: user, with: "//follower:"),
      ])
    try await follower.waitForLine(containing: "the store is equal to the source: 5 keys")
    try await bench.postgres.query("INSERT INTO api_keys VALUES ('sk_new', 'acme')")
    try await bench.becomesEqual()
    #expect(try await bench.state("sk_new") == .active)
    try await eventually("the outbox is empty") { try await bench.waiting() == 0 }
    follower.terminate()
  }
}
