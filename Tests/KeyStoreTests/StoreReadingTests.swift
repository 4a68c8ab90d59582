import Hiredis
import KeyReplica
import RedisClient
import RedisFixture
import Testing

@testable import KeyStore

@Suite struct StoreReadingTests {
  @Test func `no store, one of another kind and one that can't be read are three things`() async throws {
    try await StoreBench.with { store in
      #expect(try await store.connection.storePosition(store.layout) == .noStore)
      #expect(try await store.connection.storeManifest(store.layout) == .noStore)
      try await store.put(["a"])
      guard case .found(let position) = try await store.connection.storePosition(store.layout) else {
        Issue.record("a store wasn't found")
        return
      }
      #expect(position.version == 1 && position.count == 1 && !position.sealed)

      try await store.run("HSET", store.layout.meta, "schema", "3")
      guard case .incompatible(let why) = try await store.connection.storePosition(store.layout),
        case .incompatible = try await store.connection.storeManifest(store.layout)
      else {
        Issue.record("another schema was taken for something else")
        return
      }
      #expect(why.contains("schema 3"))

      try await store.run("HSET", store.layout.meta, "schema", StoreLayout.schema, "version", "many")
      await #expect(throws: UnreadableStore.self) { _ = try await store.connection.storePosition(store.layout) }
      await #expect(throws: UnreadableStore.self) { _ = try await store.connection.storeManifest(store.layout) }

      try await store.run("HSET", store.layout.meta, "version", 1)
      for number in ["many", "-1", "500001"] {
        try await store.run("HSET", store.layout.meta, "unknown", number)
        await #expect(throws: UnreadableStore.self) { _ = try await store.connection.storePosition(store.layout) }
      }

      // An error reply is thrown as what it is.
      try await store.run("DEL", store.layout.meta)
      try await store.run("SET", store.layout.meta, "x")
      await #expect(throws: RedisServerError.self) { _ = try await store.connection.storePosition(store.layout) }
      await #expect(throws: RedisServerError.self) { _ = try await store.connection.storeManifest(store.layout) }
    }
  }

  @Test func `the manifest has each bucket's summary and its real length`() async throws {
    try await StoreBench.with { store in
      let secrets = (0..<300).map { "key \($0)" }
      try await store.put(secrets)
      _ = try await store.writer.seal()
      let broken = KeyID(secret: "key 7".utf8).bucket(of: StoreLayout.bucketCount)
      try await store.run("HSET", store.layout.bucket(broken), "summary", "many")
      guard case .found(let manifest) = try await store.connection.storeManifest(store.layout) else {
        Issue.record("no manifest")
        return
      }
      #expect(manifest.position.sealed && manifest.position.version == 301 && manifest.position.count == 300)
      let counted = Dictionary(grouping: secrets) { KeyID(secret: $0.utf8).bucket(of: StoreLayout.bucketCount) }
      for index in 0..<StoreLayout.bucketCount {
        let expected = counted[index]?.count ?? 0
        #expect(manifest.lengths[index] == expected)
        #expect(manifest.buckets[index]?.count == (index == broken ? nil : expected))
      }
      #expect(!manifest.fitsTogether)
    }
  }

  @Test func `a bucket's reply is its fields, and its summary apart`() async throws {
    try await StoreBench.with { store in
      let id = KeyID(secret: "a".utf8)
      let command = store.layout.bucketCommand(id.bucket(of: StoreLayout.bucketCount))
      let empty = try await store.layout.rawBucket(from: store.connection.execute(command))
      #expect(empty == RawBucket(summary: nil, fields: []))
      try await store.put(["a"])
      let raw = try await store.layout.rawBucket(from: store.connection.execute(command))
      #expect(raw.fields.map(\.id) == [id.bytes])
      #expect(
        raw.summary.flatMap { BucketSummary(decoding: $0) }?.digest == Digest(of: id, record: raw.fields[0].record))
      await #expect(throws: RedisServerError.self) {
        try await store.run("SET", store.layout.bucket(0), "x")
        _ = try await store.layout.rawBucket(from: store.connection.execute(store.layout.bucketCommand(0)))
      }
    }
  }

  @Test func `changes are read as they were written, and none in time is none`() async throws {
    try await StoreBench.with { store in
      func changes(after version: UInt64) async throws -> [Change] {
        let command = store.layout.changesCommand(after: version, waitingMilliseconds: 1, atMost: 10)
        return try await store.layout.changes(from: store.connection.execute(command))
      }
      #expect(try await changes(after: 0) == [])
      try await store.put(["a", "b"])
      let outcome = try await store.writer.apply([.set("a", .revoked)])
      _ = try await store.writer.seal()
      let all = try await changes(after: 0)
      #expect(all.map(\.version) == [1, 2, 3, 4])
      #expect(all.allSatisfy { $0.epoch == outcome.epoch })
      guard case .put(let id, let bytes, _, _) = all[2].effect else {
        Issue.record("expected a put: \(all[2])")
        return
      }
      #expect(id == KeyID(secret: "a".utf8))
      #expect(try KeyRecord(decoding: bytes).state == .revoked)
      #expect(all[3].effect == .seal && all[3].total == all[2].total)
      #expect(try await changes(after: 4) == [])
    }
  }

  @Test func `an entry that isn't ours is undecodable, and a foreign id is an error`() async throws {
    try await StoreBench.with { store in
      func changes() async throws -> [Change] {
        let command = store.layout.changesCommand(after: 0, waitingMilliseconds: 1, atMost: 10)
        return try await store.layout.changes(from: store.connection.execute(command))
      }
      try await store.run("XADD", store.layout.changes, "1-0", "op", "dance")
      try await store.run("XADD", store.layout.changes, "2-0", "op", "put", "total", "00000000000000000000000000000000")
      for change in try await changes() {
        guard case .undecodable = change.effect else {
          Issue.record("\(change)")
          continue
        }
      }
      try await store.run("XADD", store.layout.changes, "3-1", "op", "seal")
      await #expect(throws: UnreadableStore.self) { _ = try await changes() }
    }
  }
}
