// What happens in the store and in the outbox during a comparison, with a real PostgreSQL and a real Redis. Each test
// holds a comparison up after it has begun.

import Foundation
import KeyReplica
import KeyStore
import RedisClient
import RedisFixture
import Testing

@Suite(.timeLimit(.minutes(5))) struct ComparisonTests {
  @Test func `a store that another program changed during a list's comparison isn't marked`() async throws {
    let bench = try await FollowBench()
    let folder = try TemporaryFolder()
    let (held, isHeld) = (folder.url("held"), folder.url("is-held"))
    try Data("key,account\nsk_1,acme\n".utf8).write(to: folder.url("list"))
    let command =
      "while test -e '\(folder.path("held"))'; do touch '\(folder.path("is-held"))'; sleep 0.02; done; "
      + "cat '\(folder.path("list"))'"
    let follower = try await ServiceProcess.start(
      "key-publisher", ["follow", "--command", command, "--every", "1s"],
      environment: ["SLUICE_REDIS": bench.redis.endpoint.description])
    try await follower.waitForLine(containing: "the store is equal to the source: 1 keys")
    try Data().write(to: held)
    try await eventually("a comparison waits for its list") { FileManager.default.fileExists(atPath: isHeld.path) }
    try await bench.revokeByHand("sk_1")
    let former = try await bench.mark().moment
    try FileManager.default.removeItem(at: held)
    try await eventually(within: .seconds(30), "the store is marked again") { try await bench.mark().moment != former }
    #expect(try await bench.state("sk_1") == .active)
    follower.terminate()
  }

  @Test func `a store that another program changed during the first comparison is compared again`() async throws {
    let bench = try await FollowBench(keys: 20)
    let follower = try await bench.heldUpFollower()
    try await bench.revokeByHand("sk_1")
    try await bench.unlockTable()
    try await bench.becomesEqual()
    #expect(try await bench.differences() == [])
    follower.terminate()
  }

  @Test func `a key whose change disappears after the first comparison skipped it is compared again`() async throws {
    let bench = try await FollowBench(keys: 20)
    let follower = try await bench.heldUpFollower(after: "UPDATE api_keys SET account = 'other' WHERE secret = 'sk_1'")
    // Somebody deletes the change by hand, or a follower of an earlier build does, and the store lacks it.
    #expect(try await bench.waiting() == 1)
    try await bench.postgres.query("DELETE FROM sluice_key_changes")
    try await bench.unlockTable()
    try await bench.becomesEqual()
    #expect(try await bench.differences() == [])
    follower.terminate()
  }
}

extension FollowBench {
  /// Revokes a key in the store, as a program other than the follower.
  fileprivate func revokeByHand(_ secret: String) async throws {
    try await with { connection in
      let edit = KeyEdit(key: KeyID(secret: secret.utf8), kind: .setState(.revoked))
      _ = try await KeyStoreWriter(connection: connection, layout: layout).apply([edit])
    }
  }

  /// Starts a follower whose first comparison waits for the table's lock.
  /// - Parameter statement: Carried out before the follower starts, while there is no other follower.
  fileprivate func heldUpFollower(after statement: String = "SELECT 1") async throws -> ServiceProcess {
    let former = try await follow()
    try await becomesEqual()
    former.terminate()
    _ = try await former.waitForExit()
    try await postgres.query(statement)
    // Ends with an error, because its session is terminated.
    Task { _ = try? await postgres.query("BEGIN; LOCK TABLE api_keys; SELECT pg_sleep(120)") }
    try await eventually("the table is locked") { try await lockers(isGranted: true) == 1 }
    let follower = try await start(Self.columns + ["--mark-every", "100ms"])
    try await eventually(within: .seconds(30), "the comparison waits for the table") {
      try await lockers(isGranted: false) == 1
    }
    return follower
  }

  fileprivate func unlockTable() async throws {
    try await postgres.query(
      "SELECT pg_terminate_backend(pid) FROM pg_locks WHERE \(Self.tableLock) AND mode = 'AccessExclusiveLock'")
  }

  private static let tableLock = "locktype = 'relation' AND relation = 'api_keys'::regclass"

  private func lockers(isGranted: Bool) async throws -> Int {
    try await postgres.query("SELECT pid FROM pg_locks WHERE \(Self.tableLock) AND granted = \(isGranted)").count
  }
}
