import Hiredis
import KeyReplica
import RedisClient
import RedisFixture
import Testing

@testable import KeyStore

@Suite struct StoreVerificationTests {
  @Test func `a store that is well has no problems, and is counted by state`() async throws {
    try await StoreBench.with { store in
      try await store.put((0..<50).map { "key \($0)" })
      _ = try await store.writer.apply([.set("key 1", .revoked), .set("key 2", .suspended)])
      var buckets = 0
      let result = try await store.connection.verifyStore(store.layout) { buckets = $0 }
      #expect(result.problems == [] && result.problemCount == 0)
      #expect(result.keysByState == [.active: 48, .suspended: 1, .revoked: 1])
      #expect(result.position?.version == 52)
      #expect(buckets == StoreLayout.bucketCount)
    }
  }

  @Test func `no store is a problem`() async throws {
    try await StoreBench.with { store in
      let result = try await store.connection.verifyStore(store.layout)
      #expect(result.position == nil && result.problemCount == 1)
    }
  }

  @Test(arguments: [
    ["HDEL", "BUCKET", "ID"], ["HSET", "BUCKET", "ID", "1 r 5 acme"], ["HSET", "BUCKET", "ID", "9 a 5 acme"],
    ["DEL", "BUCKET"], ["HSET", "BUCKET", "note", "hello"], ["HSET", "BUCKET", "summary", "many"],
    ["HDEL", "BUCKET", "summary"], ["HSET", "META", "count", "7"],
    ["HSET", "META", "digest", "00000000000000000000000000000000"], ["HSET", "META", "version", "1"],
  ])
  func `an edit by hand is found`(damage: [String]) async throws {
    try await StoreBench.with { store in
      try await store.put((0..<50).map { "key \($0)" })
      let words: [any RedisArgument] = damage.dropFirst().map { word in
        switch word {
        case "META": store.layout.meta
        case "BUCKET": store.bucket(of: "key 49")
        case "ID": KeyID(secret: "key 49".utf8).bytes
        default: word
        }
      }
      _ = try await store.connection.execute(RedisCommand(damage[0], arguments: words)).orThrow()
      let result = try await store.connection.verifyStore(store.layout)
      #expect(result.problemCount > 0 && !result.problems.isEmpty)
    }
  }

  @Test func `of many problems the first are told and all are counted`() async throws {
    try await StoreBench.with { store in
      try await store.put((0..<50).map { "key \($0)" })
      for number in 0..<50 { try await store.run("HSET", store.bucket(of: "key \(number)"), "note", "x") }
      let result = try await store.connection.verifyStore(store.layout)
      #expect(result.problems.count == StoreVerification.problemLimit && result.problemCount > 50)
    }
  }
}
