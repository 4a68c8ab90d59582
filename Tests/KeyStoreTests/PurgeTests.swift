import Hiredis
import KeyReplica
import Logging
import NIOCore
import RedisClient
import RedisFixture
import Testing

@testable import KeyStore

@Suite struct PurgeTests {
  /// Later than anything here is revoked.
  private let later = Int64.max

  @Test func `all that was revoked goes, in as many batches as it takes`() async throws {
    try await StoreBench.with { store in
      let secrets = (0..<3000).map { "key \($0)" }
      try await store.put(secrets)
      for start in stride(from: 0, to: 2000, by: 200) {
        _ = try await store.writer.apply(secrets[start..<start + 200].map { .set($0, .revoked) })
      }
      let purge = Purge(connection: store.connection, layout: store.layout)
      #expect(try await purge.count(revokedBefore: 0) { _ in } == 0)
      #expect(try await purge.count(revokedBefore: later) { _ in } == 2000)
      var progress = 0
      let outcome = try #require(try await purge.run(revokedBefore: later) { progress = $0 })
      #expect((outcome.changed, outcome.unchanged, outcome.missing) == (2000, 0, 0))
      #expect(progress == StoreLayout.bucketCount)
      #expect(try await store.discrepancies() == [])
      #expect(try await store.connection.verifyStore(store.layout).keysByState == [.active: 1000])
      let again = try await purge.run(revokedBefore: later) { _ in }
      #expect(again == nil)
    }
  }

  @Test func `it works on a full Redis, and not where a record can't be read`() async throws {
    try await StoreBench.with { store in
      try await store.put(["a", "b"])
      _ = try await store.writer.apply([.set("a", .revoked)])
      try await store.run("CONFIG", "SET", "maxmemory", "1mb")
      let purge = Purge(connection: store.connection, layout: store.layout)
      #expect(try await purge.run(revokedBefore: later) { _ in }?.changed == 1)
      try await store.run("CONFIG", "SET", "maxmemory", "0")
      try await store.run("HSET", store.bucket(of: "b"), KeyID(secret: "b".utf8).bytes, "9 r 5 acme")
      await #expect(throws: DamagedRecord.self) { _ = try await purge.run(revokedBefore: later) { _ in } }
    }
  }

  @Test func `a purged key is refused as unknown, and a node that follows counts nothing as lost`() async throws {
    try await StoreBench.with { store in
      try await store.put((0..<20).map { "key \($0)" })
      _ = try await store.writer.apply([.set("key 1", .revoked)])
      _ = try await store.writer.seal()
      let driver = ReplicaDriver(
        endpoint: store.redis.endpoint, layout: store.layout, name: "test", on: StoreBench.loop,
        logger: Logger(label: "test") { _ in SwiftLogNoOpLogHandler() })
      driver.start()
      defer { driver.stop() }
      try await eventually("mirror complete") { try await driver.status().get().objection == nil }
      let key = KeyID(secret: "key 1".utf8)
      guard case .refuse(.revokedKey, _) = try await driver.verdict(of: key).get() else {
        Issue.record("a revoked key wasn't refused as such")
        return
      }
      let purge = Purge(connection: store.connection, layout: store.layout)
      let outcome = try #require(try await purge.run(revokedBefore: later) { _ in })
      // The barrier has the node follow up to it.
      guard case .refuse(.unknownKey, let proof) = try await driver.verdict(of: key).get() else {
        Issue.record("a purged key wasn't refused as unknown")
        return
      }
      #expect(proof.version == outcome.version)
      let status = try await driver.status().get()
      #expect(
        status.completeness.state == .complete && status.violations == 0 && status.quarantined == 0
          && status.keys == 19)
    }
  }
}
