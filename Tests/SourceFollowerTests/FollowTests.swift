// key-publisher follow, with a real PostgreSQL and a real Redis.

import Foundation
import Hiredis
import KeyReplica
import KeyStore
import RedisClient
import RedisFixture
import Testing

@Suite(.timeLimit(.minutes(5))) struct FollowTests {
  @Test func `keys are what their rows are, as soon as they are committed`() async throws {
    let bench = try await FollowBench(keys: 100)
    let follower = try await bench.follow(["--seal"])
    #expect(try await bench.differences() == [])
    try await follower.waitForLine(containing: "the store is sealed with 100 keys")
    try await bench.postgres.query("INSERT INTO api_keys VALUES ('sk_new', 'acme')")
    try await eventually("the new key is active") { try await bench.state("sk_new") == .active }
    try await bench.postgres.query("UPDATE api_keys SET state = 'suspended' WHERE secret = 'sk_1'")
    try await eventually("it is suspended") { try await bench.state("sk_1") == .suspended }
    try await bench.postgres.query("UPDATE api_keys SET state = 'active', account = 'other' WHERE secret = 'sk_1'")
    try await eventually("it is active and another account's") {
      try await bench.record("sk_1").map { $0.state == .active && $0.account == "other" } ?? false
    }
    try await bench.postgres.query("UPDATE api_keys SET secret = 'sk_two' WHERE secret = 'sk_2'")
    try await bench.postgres.query("DELETE FROM api_keys WHERE secret = 'sk_3'")
    // This update changes no key.
    try await bench.postgres.query("UPDATE api_keys SET used = 1")
    // A deleted key is inserted again.
    try await bench.postgres.query("INSERT INTO api_keys VALUES ('sk_3', 'acme')")
    try await bench.postgres.query("DELETE FROM api_keys WHERE secret = 'sk_4'")
    try await bench.becomesEqual()
    #expect(try await bench.differences() == [])
    let states: [KeyState?] = [.revoked, .active, .active, .revoked]
    for (key, state) in zip(["sk_2", "sk_two", "sk_3", "sk_4"], states) {
      #expect(try await bench.state(key) == state, "\(key)")
    }
    try await eventually("the outbox is empty") { try await bench.waiting() == 0 }
    follower.terminate()
    #expect(try await follower.waitForExit() == .exited(0), "\(follower.outputs)")
    // The lease is released, so the next follower doesn't have to wait.
    #expect(try await bench.redis.run("EXISTS", "sluice:{keys}:lease").integer() == 0)
  }

  @Test func `a key ends when its row says so, in whatever form a session shows times`() async throws {
    let bench = try await FollowBench(keys: 10)
    try await bench.postgres.query(
      """
      ALTER TABLE api_keys ADD COLUMN expires_at timestamptz;
      UPDATE api_keys SET expires_at = '2126-01-01T00:00:00Z' WHERE secret = 'sk_1';
      """)
    let end = 4_922_899_200 as Int64
    let follower = try await bench.follow(["--expires-at-column", "expires_at"])
    #expect(try await bench.record("sk_1")?.expiresAt == end)
    #expect(try await bench.record("sk_2")?.expiresAt == nil)
    try await bench.postgres.query(
      """
      SET datestyle = 'German'; SET timezone = 'Asia/Kolkata';
      UPDATE api_keys SET expires_at = '2126-01-01T00:00:00.5Z' WHERE secret = 'sk_2';
      UPDATE api_keys SET expires_at = 'infinity' WHERE secret = 'sk_1';
      INSERT INTO api_keys VALUES ('sk_new', 'acme', 'active', 0, '2126-01-01T00:00:00Z');
      """)
    try await bench.becomesEqual()
    #expect(try await bench.record("sk_1")?.expiresAt == nil)
    #expect(try await bench.record("sk_2")?.expiresAt == end + 1)
    #expect(try await bench.record("sk_new")?.expiresAt == end)
    try await bench.postgres.query("UPDATE api_keys SET expires_at = NULL")
    try await bench.becomesEqual()
    #expect(try await bench.record("sk_new")?.expiresAt == nil)
    follower.terminate()
    _ = try await follower.waitForExit()

    // A follower that isn't told of ends leaves them, and its comparison as well.
    try await bench.with { connection in
      _ = try await KeyStoreWriter(connection: connection, layout: bench.layout).apply([
        KeyEdit(key: KeyID(secret: "sk_3".utf8), kind: .put(account: "account-3", nil), expiry: .set(end))
      ])
    }
    let other = try await bench.follow()
    #expect(try await bench.record("sk_3")?.expiresAt == end)
    other.terminate()
  }

  @Test func `a secret is neither in Redis, nor in the outbox, nor in the log`() async throws {
    let bench = try await FollowBench(keys: 10)
    let follower = try await bench.follow(["--log-level", "trace"])
    try await bench.postgres.query("INSERT INTO api_keys VALUES ('sk_topsecret', 'acme'), ('sk_top secret', 'umlaut')")
    try await follower.waitForLine(containing: "is empty, longer than 512 characters, or not visible ASCII")
    try await eventually("the good one is active") { try await bench.state("sk_topsecret") == .active }
    for line in try await bench.postgres.query("SELECT string_agg(o::text, ' ') FROM sluice_key_changes o") {
      #expect(!line.joined().contains("topsecret"))
    }
    try await bench.redis.run("SAVE")
    let dump = try Data(contentsOf: bench.redis.folder.url("dump.rdb"))
    #expect(dump.range(of: Data("topsecret".utf8)) == nil && dump.range(of: Data("sk_1".utf8)) == nil)
    #expect(!follower.outputs.contains("sk_top") && !follower.outputs.contains("sk_1"))
    #expect(!follower.outputs.contains(PostgresServer.password))
    // While a row is unreadable the store isn't marked.
    let mark = try await bench.mark().moment
    try await bench.postgres.query("UPDATE api_keys SET used = 2")
    #expect(try await bench.mark().moment == mark)
    try await bench.postgres.query("DELETE FROM api_keys WHERE account = 'umlaut'")
  }

  @Test func `a change of a key whose record can't be read waits, and other changes don't`() async throws {
    let bench = try await FollowBench(keys: 10)
    let follower = try await bench.follow()
    let id = KeyID(secret: "sk_1".utf8)
    let bucket = bench.layout.bucket(id.bucket(of: StoreLayout.bucketCount))
    func field() async throws -> [UInt8] {
      try await bench.with { try await $0.execute(RedisCommand("HGET", bucket, id.bytes)).bytes() }
    }
    let whole = try await field()
    let cut = Array("1 r 5".utf8)
    try await bench.with { _ = try await $0.execute(RedisCommand("HSET", bucket, id.bytes, cut)).orThrow() }
    try await bench.postgres.query("UPDATE api_keys SET account = 'other' WHERE secret = 'sk_1'")
    try await follower.waitForLine(containing: "the record of key \(id) in bucket")
    let mark = try await bench.mark().moment
    try await bench.postgres.query("INSERT INTO api_keys VALUES ('sk_new', 'acme')")
    try await eventually("the new key is active") { try await bench.state("sk_new") == .active }
    #expect(try await field() == cut)
    #expect(try await bench.waiting() > 0)
    #expect(try await bench.mark().moment == mark)
    try await bench.with { _ = try await $0.execute(RedisCommand("HSET", bucket, id.bytes, whole)).orThrow() }
    try await follower.waitForLine(containing: "all changes of the source can be carried out again")
    try await bench.becomesEqual()
    #expect(try await bench.differences() == [])
    follower.terminate()
  }

  @Test func `a transaction that began first and commits last is carried out, too`() async throws {
    let bench = try await FollowBench()
    let follower = try await bench.follow()
    let holder = Task { _ = try? await bench.postgres.query("SELECT pg_advisory_lock(7), pg_sleep(120)") }
    func locks(_ isGranted: Bool) async throws -> [[String]] {
      try await bench.postgres.query("SELECT pid FROM pg_locks WHERE locktype = 'advisory' AND granted = \(isGranted)")
    }
    try await eventually("the lock is held") { try await locks(true).count == 1 }
    async let late = bench.postgres.query(
      "BEGIN; INSERT INTO api_keys VALUES ('sk_late', 'acme'); SELECT pg_advisory_xact_lock(7); COMMIT")
    try await eventually("the first transaction waits") { try await locks(false).count == 1 }
    try await bench.postgres.query("INSERT INTO api_keys VALUES ('sk_early', 'acme')")
    try await eventually("the second one is carried out") { try await bench.state("sk_early") == .active }
    try await eventually("and taken out") { try await bench.waiting() == 0 }
    #expect(try await bench.state("sk_late") == nil)
    try await bench.postgres.query(
      "SELECT pg_terminate_backend(pid) FROM pg_locks WHERE locktype = 'advisory' AND granted")
    _ = try await late
    await holder.value
    try await eventually("the first one is carried out") { try await bench.state("sk_late") == .active }
    try await bench.becomesEqual()
    #expect(try await bench.differences() == [])
    follower.terminate()
  }

  @Test func `followers that are killed lose nothing, and another one takes over`() async throws {
    let bench = try await FollowBench(keys: 200)
    var followers = [try await bench.follow(), try await bench.start(FollowBench.columns + ["--mark-every", "100ms"])]
    try await followers[1].waitForLine(containing: "standing by: the store is written by key-publisher follow on")
    for round in 0..<4 {
      let changes = Task {
        for step in 0..<20 {
          let (n, state) = ((round * 20 + step) % 200 + 1, ["suspended", "active", "revoked"][step % 3])
          try await bench.postgres.query(
            """
            UPDATE api_keys SET state = '\(state)' WHERE secret = 'sk_\(n)';
            INSERT INTO api_keys VALUES ('sk_\(round)_\(step)', 'acme');
            DELETE FROM api_keys WHERE secret = 'sk_\(round)_\(step - 3)';
            """)
        }
      }
      try await eventually("something of it is in the store") { try await bench.state("sk_\(round)_5") != nil }
      followers[0].kill9()
      _ = try await followers[0].waitForExit()
      followers.removeFirst()
      try await changes.value
      try await bench.becomesEqual(within: .seconds(60))
      #expect(try await bench.differences() == [])
      followers.append(try await bench.start(FollowBench.columns + ["--mark-every", "100ms"]))
      try await followers[1].waitForLine(containing: "standing by")
    }
    for follower in followers { follower.terminate() }
  }

  @Test func `a store that is restored from an older copy or replaces an emptied one is made equal`() async throws {
    var options = RedisServerOptions()
    options.appendOnly = .off
    let bench = try await FollowBench(keys: 100, redis: options)
    let follower = try await bench.follow()
    try await bench.redis.run("SAVE")
    let (dump, copy) = (bench.redis.folder.url("dump.rdb"), bench.redis.folder.url("copy.rdb"))
    try FileManager.default.copyItem(at: dump, to: copy)
    try await bench.postgres.query(
      """
      INSERT INTO api_keys SELECT 'sk_new_' || n, 'acme' FROM generate_series(1, 50) n;
      UPDATE api_keys SET state = 'revoked' WHERE secret = 'sk_1'
      """)
    try await bench.becomesEqual()
    try await bench.redis.kill9()
    try FileManager.default.removeItem(at: dump)
    try FileManager.default.copyItem(at: copy, to: dump)
    try await bench.redis.restart()
    try await bench.becomesEqual()
    #expect(try await bench.differences() == [])
    // The store is emptied while the follower is connected. A new store gets the keys when an operator says so.
    let former = try #require(try await bench.store())
    try await bench.redis.run("FLUSHALL")
    try await follower.waitForLine(containing: "expected that store at this address, found no store")
    #expect(try await bench.store() == nil)
    try await bench.publisher("create", "--name", "new")
    try await bench.publisher("adopt", former.id)
    try await eventually(within: .seconds(30), "the keys are there again") {
      try await bench.state("sk_new_50") == .active
    }
    try await bench.becomesEqual()
    #expect(try await bench.differences() == [])
    #expect(follower.status == nil)
  }

  @Test func `while the source is away the mark ages, and it is said`() async throws {
    let bench = try await FollowBench(keys: 10)
    let follower = try await bench.follow()
    try await bench.becomesEqual()
    try await bench.postgres.stop()
    try await follower.waitForLine(containing: "not following the source")
    let (mark, time) = (try await bench.mark().moment, try await bench.time())
    #expect(try await !bench.mark().covers(time))
    #expect(try await bench.mark().moment == mark)
    try await bench.postgres.restart()
    try await bench.becomesEqual()
    try await follower.waitForLine(containing: "following the source again")
    // Nothing is read from a standby.
    try await bench.postgres.stop()
    try Data().write(to: bench.postgres.folder.url("data/standby.signal"))
    try await bench.postgres.restart()
    try await follower.waitForLine(containing: "is a standby, which may be behind its primary")
    let after = try await bench.time()
    #expect(try await !bench.mark().covers(after))
    try await bench.postgres.query("SELECT pg_promote()")
    try await bench.becomesEqual()
    #expect(try await bench.differences() == [])
  }

  @Test func `what would take away too many keys isn't done, and the store isn't marked`() async throws {
    let bench = try await FollowBench(keys: 100)
    let follower = try await bench.follow()
    try await bench.becomesEqual()
    try await bench.postgres.query("TRUNCATE api_keys")
    try await follower.waitForLine(containing: "would take 100 of 100 active keys out of service")
    #expect(try await bench.state("sk_1") == .active)
    let time = try await bench.time()
    #expect(try await !bench.mark().covers(time))
    follower.terminate()
    _ = try await follower.waitForExit()
    // The guard doesn't count the changes that the application made in the meantime.
    try await bench.postgres.query(
      """
      INSERT INTO api_keys SELECT 'sk_' || n, 'account-' || n FROM generate_series(1, 100) n;
      UPDATE api_keys SET state = 'revoked' WHERE secret > 'sk_5'
      """)
    let second = try await bench.start(FollowBench.columns)
    try await second.waitForLine(containing: "the store is equal to the source")
    try await bench.becomesEqual()
    #expect(try await bench.differences() == [])
    try await bench.postgres.query("TRUNCATE api_keys")
    try await second.waitForLine(containing: "active keys out of service")
    second.terminate()
    _ = try await second.waitForExit()
    let agreed = try await bench.start(FollowBench.columns + ["--max-revoked", "100"])
    try await agreed.waitForLine(containing: "the store is equal to the source: 0 keys; ")
    try await bench.becomesEqual()
    #expect(try await bench.state("sk_1") == .revoked)
  }

  @Test func `comparisons beside changes take nothing back`() async throws {
    let bench = try await FollowBench(keys: 2_000)
    let follower = try await bench.follow(["--compare-every", "1s"])
    // Another program changes the store: the follower undoes that.
    try await bench.with { connection in
      let edit = KeyEdit(key: KeyID(secret: "sk_7".utf8), kind: .setState(.revoked))
      _ = try await KeyStoreWriter(connection: connection, layout: bench.layout).apply([edit])
    }
    for round in 0..<30 {
      try await bench.postgres.query(
        """
        UPDATE api_keys SET state = CASE state WHEN 'active' THEN 'suspended' ELSE 'active' END WHERE secret IN
          (SELECT 'sk_' || n FROM generate_series(\(round + 100), 2000, 40) n);
        INSERT INTO api_keys VALUES ('sk_x_\(round)', 'acme');
        DELETE FROM api_keys WHERE secret = 'sk_x_\(round - 1)';
        """)
    }
    try await bench.becomesEqual()
    #expect(try await bench.differences().filter { !$0.contains(KeyID(secret: "sk_7".utf8).hex) } == [])
    try await eventually("the source has decided about the key") { try await bench.state("sk_7") == .active }
    #expect(follower.status == nil)
  }

  @Test func `a revocation by hand is undone with warnings, and lasts once no follower runs`() async throws {
    let bench = try await FollowBench(keys: 10)
    let follower = try await bench.follow()
    func revoke() async throws -> ServiceProcess {
      let run = try await ServiceProcess.start(
        "key-publisher", ["revoke", "--key", "sk_7"], environment: bench.environment)
      #expect(try await run.waitForExit() == .exited(0), "\(run.outputs)")
      try await run.waitForOutputs()
      return run
    }
    let first = try await revoke().standardError.text
    #expect(first.contains("this change doesn't last: key-publisher follow on"), "\(first)")
    let line = try await follower.waitForLine(containing: "are active again, because they are active in the source")
    #expect(line.contains("\(KeyID(secret: "sk_7".utf8)) of account-7") && line.contains("warning"), "\(line)")
    try await eventually("the source has decided") { try await bench.state("sk_7") == .active }

    follower.terminate()
    #expect(try await follower.waitForExit() == .exited(0), "\(follower.outputs)")
    let second = try await revoke().standardError.text
    #expect(!second.contains("doesn't last"), "\(second)")
    #expect(try await bench.state("sk_7") == .revoked)
  }

  @Test func `a follower names a store without a name, and leaves another one alone`() async throws {
    let bench = try await FollowBench(keys: 10)
    func name() async throws -> String? { try await bench.store()?.name }
    let follower = try await bench.follow(["--name", "production"])
    #expect(try await name() == "production")
    follower.terminate()
    _ = try await follower.waitForExit()
    try await bench.postgres.query("DELETE FROM api_keys")
    let other = try await bench.start(FollowBench.columns + ["--name", "staging", "--max-revoked", "100"])
    #expect(try await other.waitForExit() == .exited(1), "\(other.outputs)")
    #expect(other.outputs.contains("expected the store staging"), "\(other.outputs)")
    #expect(try await bench.state("sk_1") == .active)
    #expect(try await name() == "production")
  }

  @Test func `a trigger that isn't there or isn't the right one is said`() async throws {
    let bench = try await FollowBench(keys: 1)
    let without = try await bench.start(FollowBench.columns)
    #expect(try await without.waitForExit() == .exited(1))
    #expect(without.standardError.text.contains("run the same command with --install"), "\(without.outputs)")
    let printed = try await bench.start(FollowBench.columns + ["--print-install"])
    #expect(try await printed.waitForExit() == .exited(0))
    try await printed.waitForOutputs()
    try await bench.postgres.query(printed.standardOutput.text)
    let follower = try await bench.start(FollowBench.columns)
    try await follower.waitForLine(containing: "the store is equal to the source")
    follower.terminate()
    _ = try await follower.waitForExit()
    let other = try await bench.start(Array(FollowBench.columns.dropLast(2)))
    #expect(try await other.waitForExit() == .exited(1))
    #expect(other.standardError.text.contains("was installed with other columns"), "\(other.outputs)")
    let wrong = try await bench.start(
      ["--table", "api_keys", "--key-column", "nothing", "--account-column", "account", "--install"])
    #expect(try await wrong.waitForExit() == .exited(1))
    #expect(wrong.standardError.text.contains("\"nothing\" does not exist"), "\(wrong.outputs)")
    for arguments in [[], ["--table", "a b"], ["--table", "t"], ["--query", "x", "--table", "t"]] {
      let process = try await bench.start(arguments)
      #expect(try await process.waitForExit() == .exited(64), "\(arguments)")
    }
  }

  @Test func `an installation and a transaction of the application don't wait for each other`() async throws {
    let bench = try await FollowBench(keys: 1)
    let first = try await bench.follow()
    first.terminate()
    _ = try await first.waitForExit()
    func locks(_ mode: String) async throws -> Int {
      try await bench.postgres.query(
        "SELECT pid FROM pg_locks WHERE relation = 'api_keys'::regclass AND granted AND mode = '\(mode)'"
      ).count
    }
    // The transaction has the table, and needs the outbox once the installation waits for the table.
    async let transaction = bench.postgres.query(
      """
      BEGIN;
      UPDATE api_keys SET used = 1;
      DO $$ BEGIN
        WHILE NOT EXISTS (SELECT FROM pg_locks WHERE relation = 'api_keys'::regclass AND NOT granted) LOOP
          PERFORM pg_sleep(0.01);
        END LOOP;
      END $$;
      INSERT INTO api_keys VALUES ('sk_meanwhile', 'acme');
      COMMIT;
      """)
    try await eventually("the transaction has the table") { try await locks("RowExclusiveLock") > 0 }
    let second = try await bench.follow()
    _ = try await transaction
    try await eventually("its key is active") { try await bench.state("sk_meanwhile") == .active }
    second.terminate()
  }

  @Test func `a query is followed, too, and so is a command`() async throws {
    let bench = try await FollowBench(keys: 20)
    let query = "SELECT secret AS key, account, state FROM api_keys;"
    var follower = try await bench.start(["--query", query, "--every", "1s"])
    try await follower.waitForLine(containing: "the store is equal to the source: 20 keys")
    try await bench.postgres.query("INSERT INTO api_keys VALUES ('sk_new', 'acme')")
    try await bench.becomesEqual()
    #expect(try await bench.state("sk_new") == .active)
    follower.terminate()
    #expect(try await follower.waitForExit() == .exited(0))

    let folder = try TemporaryFolder()
    let list = "key,account\n" + (1...20).map { "sk_\($0),account-\($0)\n" }.joined() + "sk_new,acme\n"
    try Data(list.utf8).write(to: folder.url("list"))
    let command = "cat '\(folder.path("list"))'; test ! -e '\(folder.path("broken"))'"
    follower = try await ServiceProcess.start(
      "key-publisher", ["follow", "--command", command, "--every", "1s"],
      environment: ["SLUICE_REDIS": bench.redis.endpoint.description])
    try await follower.waitForLine(containing: "the store is equal to the source: 21 keys; 0 changed")
    try Data().write(to: folder.url("broken"))
    try await follower.waitForLine(containing: "the command ended with status 1")
    let time = try await bench.time()
    #expect(try await !bench.mark().covers(time))
    try Data((list + "sk_more,acme\n").utf8).write(to: folder.url("list"))
    try FileManager.default.removeItem(at: folder.url("broken"))
    try await bench.becomesEqual()
    #expect(try await bench.state("sk_more") == .active)
    follower.terminate()
    #expect(try await follower.waitForExit() == .exited(0))
  }

  @Test func `the publisher's user may follow`() async throws {
    let root = URL(fileURLWithPath: #filePath).deletingLastPathComponent().deletingLastPathComponent()
      .deletingLastPathComponent()
    let users = try String(contentsOf: root.appendingPathComponent("Deploy/redis/users.acl"), encoding: .utf8)
    let line = try #require(users.split(separator: "\n").first { $0.hasPrefix("user sluice-publisher on ") })
    let user = "sluice-publisher on >secret " + line.dropFirst("user sluice-publisher on ".count)
    let bench = try await FollowBench(keys: 5, redis: RedisServerOptions { $0.users = [user] })
    let follower = try await ServiceProcess.start(
      "key-publisher", ["follow", "--install", "--seal"] + FollowBench.columns,
      environment: [
        "SLUICE_REDIS": "redis://sluice-publisher:secret@127.0.0.1:\(bench.redis.port)",
        "SLUICE_SOURCE": bench.postgres.address,
      ])
    try await follower.waitForLine(containing: "the store is equal to the source: 5 keys")
    try await bench.becomesEqual()
    follower.terminate()
    #expect(try await follower.waitForExit() == .exited(0))
    #expect(!follower.outputs.contains("NOPERM"), "\(follower.outputs)")
  }

  @Test func `a store that can't be sealed ends the follower with the reason`() async throws {
    let bench = try await FollowBench()
    let create = try await ServiceProcess.start(
      "key-publisher", ["create", "--name", "keys"], environment: bench.environment)
    #expect(try await create.waitForExit() == .exited(0), "\(create.outputs)")
    let follower = try await bench.start(FollowBench.columns + ["--install", "--seal"])
    #expect(try await follower.waitForExit() == .exited(1), "\(follower.outputs)")
    try await follower.waitForOutputs()
    let errors = follower.standardError.text
    #expect(errors.contains("--seal failed: the store is empty"), "\(errors)")
    // The lease is released, so the next follower doesn't have to wait.
    #expect(try await bench.redis.run("EXISTS", "sluice:{keys}:lease").integer() == 0)
  }

  @Test func `source shows the mark and sets its bound`() async throws {
    let bench = try await FollowBench(keys: 3)
    func source(_ arguments: [String] = []) async throws -> ServiceProcess {
      let process = try await ServiceProcess.start(
        "key-publisher", ["source"] + arguments, environment: bench.environment)
      _ = try await process.waitForExit()
      try await process.waitForOutputs()
      return process
    }
    var shown = try await source()
    #expect(shown.status == .exited(1) && shown.standardError.text.contains("there is no key store"))
    let follower = try await bench.follow()
    try await bench.becomesEqual()
    shown = try await source(["--max-age", "60s"])
    #expect(shown.standardOutput.text.contains("max age  60000 ms"), "\(shown.outputs)")
    #expect(
      shown.standardOutput.text.contains("all commits before ")
        && shown.standardOutput.text.contains("refusals allowed"))
    follower.kill9()
    _ = try await follower.waitForExit()
    shown = try await source(["--max-age", "1s", "--json"])
    #expect(shown.standardOutput.text.contains("\"max_age_ms\":1000"), "\(shown.outputs)")
    try await eventually("the mark is too old") {
      try await source().standardOutput.text.contains("older than its maximum age")
    }
    shown = try await source(["--max-age", "none"])
    #expect(shown.standardOutput.text.contains("max age  none"), "\(shown.outputs)")
    #expect(try await source(["--max-age", "10ms"]).status == .exited(64))
  }
}
