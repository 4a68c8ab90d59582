import Hiredis
import KeyReplica
import Logging
import NIOCore
import RedisClient
import RedisFixture
import Testing

@testable import KeyStore

@Suite struct StoreRebuildTests {
  private func rebuild(_ store: StoreBench) -> StoreRebuild {
    StoreRebuild(connection: store.connection, layout: store.layout)
  }

  @Test(arguments: [
    ["HDEL", "BUCKET", "ID"], ["HSET", "BUCKET", "ID", "1 r 5 acme"], ["HSET", "BUCKET", "ID", "9 a 5 acme"],
    ["DEL", "BUCKET"], ["HSET", "BUCKET", "note", "hello"], ["HSET", "BUCKET", "summary", "many"],
    ["HDEL", "BUCKET", "summary"], ["HSET", "META", "count", "7"], ["HSET", "META", "version", "1"],
    ["HSET", "META", "digest", "00000000000000000000000000000000"], ["HDEL", "META", "epoch"], ["DEL", "META"],
    ["HDEL", "META", "schema"], ["HSET", "META", "replicas", "33"], ["HSET", "META", "announced", "many"],
    ["HDEL", "META", "sealed"], ["XADD", "CHANGES", "77-0", "op", "x"], ["XADD", "CHANGES", "77-5", "op", "x"],
    ["SET", "BUCKET", "x"], ["SET", "CHANGES", "x"],
    ["HSET", "BUCKET", "summary", "1 00000000000000000000000000000000 99"],
    ["HSET", "BUCKET", "summary", "1 00000000000000000000000000000000 18446744073709551615"],
  ])
  func `whatever was damaged, afterwards it is whole, sealed and can be written to`(damage: [String]) async throws {
    try await StoreBench.with { store in
      try await store.put((0..<50).map { "key \($0)" })
      _ = try await store.writer.apply([.set("key 1", .revoked)])
      _ = try await store.writer.seal()
      let words: [any RedisArgument] = damage.dropFirst().map { word in
        switch word {
        case "META": store.layout.meta
        case "CHANGES": store.layout.changes
        case "BUCKET": store.bucket(of: "key 49")
        case "ID": KeyID(secret: "key 49".utf8).bytes
        default: word
        }
      }
      if damage[0] == "SET" {
        _ = try await store.connection.execute(RedisCommand("DEL", arguments: [words[0]])).orThrow()
      }
      _ = try await store.connection.execute(RedisCommand(damage[0], arguments: words)).orThrow()
      let survey = try await rebuild(store).survey()
      #expect(survey.problemCount + survey.unreadableCount > 0 && !survey.isAbsent && survey.otherKind == nil)
      let (version, keys) = try await rebuild(store).run(after: survey, droppingUnreadable: true)
      #expect(keys == survey.keys && (49...50).contains(keys))
      #expect(version > 52)
      #expect(try await store.discrepancies() == [])
      let verification = try await store.connection.verifyStore(store.layout)
      #expect(verification.problems == [] && verification.position?.sealed == true)
      #expect(try await store.run("EXISTS", store.layout.rebuild).integer() == 0)
      let after = try await rebuild(store).survey()
      #expect(after.problems == [] && after.unreadable == [])
      #expect(try await store.writer.apply([.put("key 49", "other")]).version == version + 1)
    }
  }

  @Test func `a store that is well has no problems, and one that isn't there is absent`() async throws {
    try await StoreBench.with { store in
      #expect(try await rebuild(store).survey().isAbsent)
      try await store.put(["a", "b"])
      _ = try await store.writer.apply([.set("b", .suspended)])
      _ = try await store.writer.seal()
      let survey = try await rebuild(store).survey()
      #expect(survey.problems == [] && survey.unreadable == [] && !survey.isAbsent && survey.claimed == 2)
      #expect(survey.keysByState == [.active: 1, .suspended: 1])
      for (field, value) in [("schema", "3"), ("buckets", "512")] {
        let was = try await store.run("HGET", store.layout.meta, field).string()
        try await store.run("HSET", store.layout.meta, field, value)
        let other = try await rebuild(store).survey()
        #expect(other.otherKind?.contains(value) ?? false)
        await #expect(throws: NotRebuilt.self) { try await rebuild(store).run(after: other, droppingUnreadable: true) }
        await #expect(throws: RedisServerError.self) {
          try await rebuild(store).run(after: survey, droppingUnreadable: true)
        }
        try await store.run("HSET", store.layout.meta, field, was)
      }
      #expect(try await store.discrepancies() == [])
    }
  }

  @Test func `what can't be read isn't thrown away unless somebody said so`() async throws {
    try await StoreBench.with { store in
      try await store.put(["a", "b"])
      let survey = try await rebuild(store).survey()
      try await store.run("HSET", store.bucket(of: "a"), KeyID(secret: "a".utf8).bytes, "9 a 5 acme")
      await #expect(throws: NotRebuilt.self) { try await rebuild(store).run(after: survey, droppingUnreadable: false) }
      let again = try await rebuild(store).survey()
      #expect(again.unreadableCount == 1 && again.keys == 1)
      #expect(again.unreadable[0].contains(KeyID(secret: "a".utf8).hex))
      #expect(try await store.run("HLEN", store.bucket(of: "a")).integer() == 2)
    }
  }

  @Test func `of two that rebuild at once the later one does it`() async throws {
    try await StoreBench.with { store in
      try await store.put(["a", "b"])
      try await store.run("DEL", store.bucket(of: "a"))
      let survey = try await rebuild(store).survey()
      // The first has closed the store and got no further when the second comes.
      let layout = store.layout
      let begin = BeginRebuildScript(layout: layout, epoch: "first", latestVersion: 0)
      try begin.read(await store.connection.execute(begin))
      func firstGoesOn() async throws -> [RedisReply] {
        try await [
          store.connection.execute(
            RebuildBucketScript(layout: layout, epoch: "first", index: 0, count: 0, digest: .empty, foreign: [])),
          store.connection.execute(FinishRebuildScript(layout: layout, epoch: "first", hasExpiry: false)),
        ]
      }
      struct Killed: Error {}
      await #expect(throws: Killed.self) {
        try await rebuild(store).run(after: survey, droppingUnreadable: false) { if $0 > 500 { throw Killed() } }
      }
      for reply in try await firstGoesOn() {
        #expect(throws: RedisServerError.self) { try reply.orThrow() }
      }
      let second = try await rebuild(store).run(after: survey, droppingUnreadable: false)
      for reply in try await firstGoesOn() {
        #expect(throws: RedisServerError.self) { try reply.orThrow() }
      }
      #expect(second.keys == 1)
      #expect(try await store.discrepancies() == [])
    }
  }

  @Test func `it works on a full Redis`() async throws {
    try await StoreBench.with { store in
      try await store.put((0..<50).map { "key \($0)" })
      try await store.run("DEL", store.layout.meta, store.bucket(of: "key 1"))
      try await store.run("CONFIG", "SET", "maxmemory", "1mb")
      let survey = try await rebuild(store).survey()
      _ = try await rebuild(store).run(after: survey, droppingUnreadable: false)
      #expect(try await store.discrepancies() == [])
    }
  }

  @Test func `a node admits whom it knew while it goes on, and refuses again afterwards`() async throws {
    try await StoreBench.with { store in
      try await store.put((0..<50).map { "key \($0)" })
      _ = try await store.writer.seal()
      let driver = ReplicaDriver(
        endpoint: store.redis.endpoint, layout: store.layout, name: "test", on: StoreBench.loop,
        logger: Logger(label: "test") { _ in SwiftLogNoOpLogHandler() })
      driver.start()
      defer { driver.stop() }
      let (known, stranger) = (KeyID(secret: "key 1".utf8), KeyID(secret: "nobody's".utf8))
      try await eventually("mirror complete") { try await driver.status().get().objection == nil }
      try await store.run("HDEL", store.layout.meta, "digest")
      struct Killed: Error {}
      let survey = try await rebuild(store).survey()
      await #expect(throws: Killed.self) {
        try await rebuild(store).run(after: survey, droppingUnreadable: false) { if $0 > 500 { throw Killed() } }
      }
      try await eventually("the node knows that the store is closed") {
        try await driver.status().get().completeness.state == .incompatible
      }
      #expect(driver.admits(known) == "acme")
      guard case .undecided = try await driver.verdict(of: stranger).get() else {
        Issue.record("somebody was refused by a store that is being rebuilt")
        return
      }
      _ = try await rebuild(store).run(after: survey, droppingUnreadable: false)
      try await eventually("the mirror is complete again") { try await driver.status().get().objection == nil }
      #expect(driver.admits(known) == "acme")
      guard case .refuse(.unknownKey, _) = try await driver.verdict(of: stranger).get() else {
        Issue.record("nobody is refused after the store was rebuilt")
        return
      }
    }
  }
}
