import KeyReplica
import RedisFixture
import Testing

@testable import KeyStore

@Suite struct PublicationTests {
  private func states(_ store: StoreBench) async throws -> [KeyState: Int] {
    let result = try await store.connection.verifyStore(store.layout)
    #expect(result.problems == [])
    return result.keysByState
  }

  private func list(_ secrets: some Sequence<String>, account: String = "acme") throws -> KeyListSpool {
    try KeyListSpoolTests.spool("key,account\n" + secrets.map { "\($0),\(account)\n" }.joined())
  }

  @Test func `an import adds and changes what is listed and leaves the rest`() async throws {
    try await StoreBench.with { store in
      try await store.put(["old 1", "old 2"])
      let publication = Publication(connection: store.connection, layout: store.layout)
      let secrets = (0..<3000).map { "key\($0)" }
      var progress = 0
      let outcome = try #require(try await publication.importAll(of: list(secrets)) { progress = $0 })
      #expect((outcome.changed, outcome.unchanged, progress) == (3000, 0, 3000))
      #expect(try await states(store) == [.active: 3002])
      let again = try #require(try await publication.importAll(of: list(secrets)) { _ in })
      #expect((again.changed, again.unchanged, again.version) == (0, 3000, outcome.version))
      let empty = try await publication.importAll(of: list([])) { _ in }
      #expect(empty == nil)
    }
  }

  @Test func `until the first batch is in the store no other is on its way, which could overtake it`() async throws {
    try await StoreBench.with { store in
      let publication = Publication(connection: store.connection, layout: store.layout)
      // All in one partition, and more than one batch: Redis has neither the store nor the scripts.
      let secrets = (0...).lazy.map { "key\($0)" }.filter {
        KeyID(secret: $0.utf8).bucket(of: KeyListSpool.partitionCount) == 0
      }.prefix(4 * KeyStoreWriter.batchLimit)
      let outcome = try #require(try await publication.importAll(of: list(secrets)) { _ in })
      #expect(outcome.changed == 4 * KeyStoreWriter.batchLimit)
      // Once for each script, and once for the store: whoever else had been sent would have met them too, and been sent again.
      #expect(try await store.errors() == ["NOSCRIPT": 2, "STORENONE": 1])
    }
  }

  @Test func `a sync revokes exactly what isn't listed, and brings back what is`() async throws {
    try await StoreBench.with { store in
      let publication = Publication(connection: store.connection, layout: store.layout)
      try await store.put((0..<1000).map { "key\($0)" })
      _ = try await store.writer.apply([.set("key0", .revoked), .set("key1", .suspended), .set("key999", .revoked)])
      let listed = try list((0..<900).map { "key\($0)" } + ["new"])
      let plan = try await publication.plan(for: listed)
      // 998 aren't revoked; of the hundred that aren't listed one is revoked already.
      #expect(plan == Publication.Plan(present: 998, toRevoke: 99))
      let outcome = try #require(try await publication.sync(with: listed, by: plan) { _ in })
      // Back: key0 and key1. New: one. Gone: 99.
      #expect(outcome.changed == 102)
      #expect(try await states(store) == [.active: 901, .revoked: 100])
      #expect(try await store.discrepancies() == [])
      let again = try await publication.plan(for: listed)
      #expect(again == Publication.Plan(present: 901, toRevoke: 0))
    }
  }

  @Test func `a sync revokes no more than was planned, whoever else writes`() async throws {
    try await StoreBench.with { store in
      let publication = Publication(connection: store.connection, layout: store.layout)
      try await store.put((0..<100).map { "key\($0)" })
      let listed = try list((0..<99).map { "key\($0)" })
      let plan = try await publication.plan(for: listed)
      #expect(plan.toRevoke == 1)
      try await store.put((0..<200).map { "meanwhile\($0)" })
      await #expect(throws: Publication.MoreToRevoke.self) {
        _ = try await publication.sync(with: listed, by: plan) { _ in }
      }
      #expect(try await states(store)[.revoked] ?? 0 <= 1)
    }
  }

  @Test func `a store with what isn't a key id isn't synced`() async throws {
    try await StoreBench.with { store in
      try await store.put(["key1"])
      try await store.run("HSET", store.layout.bucket(5), "note", "x")
      let publication = Publication(connection: store.connection, layout: store.layout)
      await #expect(throws: UnreadableStore.self) { _ = try await publication.plan(for: list(["key1"])) }
    }
  }
}
