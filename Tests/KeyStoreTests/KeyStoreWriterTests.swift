import Hiredis
import KeyReplica
import NIOCore
import RedisClient
import RedisFixture
import Testing

@testable import KeyStore

@Suite struct KeyStoreWriterTests {
  private func code(_ body: () async throws -> Void) async throws -> String? {
    do {
      try await body()
      return nil
    } catch let error as RedisServerError {
      return error.code
    }
  }

  @Test func `an edit says what became of it`() async throws {
    try await StoreBench.with { store in
      var outcome = try await store.writer.apply([.put("a"), .put("b"), .set("nobody's", .revoked)])
      #expect((outcome.changed, outcome.unchanged, outcome.missing, outcome.version) == (2, 0, 1, 2))
      let epoch = outcome.epoch
      outcome = try await store.writer.apply([.put("a"), .put("b", "other"), .set("a", .active), .set("b", .suspended)])
      #expect((outcome.changed, outcome.unchanged, outcome.missing, outcome.version) == (2, 2, 0, 4))
      #expect(outcome.epoch == epoch)
      // The state's change left the account, which an edit of the same batch had changed.
      let record = try await store.run("HGET", store.bucket(of: "b"), KeyID(secret: "b".utf8).bytes).bytes()
      #expect(try KeyRecord(decoding: record).account == "other")
      #expect(try KeyRecord(decoding: record).state == .suspended)
      outcome = try await store.writer.apply([])
      #expect(outcome.changed == 0 && outcome.version == 4)
    }
  }

  @Test func `nothing is written for a state change in a Redis without a store`() async throws {
    try await StoreBench.with { store in
      let outcome = try await store.writer.apply([.set("a", .revoked)])
      #expect(outcome.missing == 1 && outcome.version == 0)
      #expect(try await store.run("DBSIZE").integer() == 0)
    }
  }

  @Test func `after random edits summaries, totals and stream are right`() async throws {
    var random = SeededGenerator.announced()
    try await StoreBench.with { store in
      var changes: UInt64 = 0
      for _ in 0..<60 {
        let edits = (0..<Int.random(in: 1...KeyStoreWriter.batchLimit, using: &random)).map { _ in
          let secret = "key \(Int.random(in: 0..<900, using: &random))"
          let state = KeyState.allCases.randomElement(using: &random)!
          return Bool.random(using: &random)
            ? KeyEdit.put(secret, "account \(Int.random(in: 0..<5, using: &random))", state) : .set(secret, state)
        }
        let outcome = try await store.writer.apply(edits)
        changes += UInt64(outcome.changed)
        #expect(outcome.version == changes)
        #expect(outcome.changed + outcome.unchanged + outcome.missing == edits.count)
      }
      #expect(try await store.discrepancies() == [])
      #expect(try await store.streamIDs() == (1...changes).map { "\($0)-0" })
      #expect(try await store.connection.verifyStore(store.layout).problems == [])
    }
  }

  @Test func `sealing is one change, done once, and not of an empty store unless told so`() async throws {
    try await StoreBench.with { store in
      #expect(try await code { _ = try await store.writer.seal() } == StoreErrorCode.absent.rawValue)
      #expect(try await store.run("DBSIZE").integer() == 0)
      try await store.put(["a", "b"])
      let sealed = try await store.writer.seal()
      #expect(sealed == (3, 2, false))
      #expect(try await store.writer.seal() == (3, 2, true))
      #expect(try await store.streamIDs() == ["1-0", "2-0", "3-0"])
      try await store.run("FLUSHALL")
      #expect(try await store.writer.seal(mayBeEmpty: true) == (1, 0, false))
      #expect(try await store.discrepancies() == [])
    }
  }

  @Test func `the stream is kept short`() async throws {
    try await withRedis { redis in
      let store = try await StoreBench(redis, changesKept: 100)
      try await store.put((0..<1000).map { "key \($0)" })
      let ids = try await store.streamIDs()
      // Redis trims by whole nodes of a hundred.
      #expect((100...300).contains(ids.count), "\(ids.count)")
      #expect(ids.last == "1000-0")
      #expect(ids == (0..<ids.count).map { "\(1000 - ids.count + 1 + $0)-0" })
    }
  }

  @Test func `a full Redis takes no key, and still ends keys`() async throws {
    try await StoreBench.with { store in
      try await store.put(["a", "b", "c"])
      try await store.run("CONFIG", "SET", "maxmemory", "1mb")
      #expect(try await code { _ = try await store.writer.apply([.put("new"), .set("a", .revoked)]) } == "OOM")
      #expect(try await code { _ = try await store.writer.apply([.set("a", .active)]) } == "OOM")
      #expect(try await store.run("HGET", store.layout.meta, "version").string() == "3")
      let outcome = try await store.writer.apply([.set("a", .revoked), .set("b", .suspended)])
      #expect(outcome.changed == 2 && outcome.version == 5)
      // Reading isn't refused either.
      guard case .found(let manifest) = try await store.connection.storeManifest(store.layout) else {
        Issue.record("no manifest")
        return
      }
      #expect(manifest.position.version == 5)
      #expect(try await store.discrepancies() == [])
    }
  }

  @Test func `a store of another kind isn't written to`() async throws {
    try await StoreBench.with { store in
      try await store.put(["a"])
      for (field, value) in [("schema", "3"), ("buckets", "512")] {
        let was = try await store.run("HGET", store.layout.meta, field).string()
        try await store.run("HSET", store.layout.meta, field, value)
        #expect(try await code { _ = try await store.writer.apply([.put("b")]) } == StoreErrorCode.otherKind.rawValue)
        #expect(try await code { _ = try await store.writer.seal() } == StoreErrorCode.otherKind.rawValue)
        try await store.run("HSET", store.layout.meta, field, was)
      }
      #expect(try await store.discrepancies() == [])
    }
  }

  @Test(arguments: [
    ["HDEL", "META", "version"], ["HDEL", "META", "epoch"], ["HSET", "META", "version", "many"],
    ["HSET", "META", "count", "-1"], ["HSET", "META", "digest", "short"], ["HSET", "META", "version", "0"],
    ["HSET", "BUCKET", "summary", "1 2"], ["HDEL", "BUCKET", "summary"], ["DEL", "BUCKET"], ["DEL", "META"],
    ["DEL", "META", "CHANGES"], ["DEL", "META", "BUCKET"], ["DEL", "META", "BUCKET", "CHANGES"],
    ["HSET", "BUCKET", "summary", "1 00000000000000000000000000000000 99"], ["XADD", "CHANGES", "77-0", "op", "x"],
  ])
  func `a store that is broken isn't written to, not even in part`(damage: [String]) async throws {
    try await StoreBench.with { store in
      try await store.put(["a", "b"])
      let names = ["META": store.layout.meta, "BUCKET": store.bucket(of: "a"), "CHANGES": store.layout.changes]
      _ = try await store.connection.execute(
        RedisCommand(damage[0], arguments: damage.dropFirst().map { names[$0] ?? $0 })
      ).orThrow()
      func everything() async throws -> [RedisReply] {
        try await [
          store.run("HGETALL", store.layout.meta), store.run("HGETALL", store.bucket(of: "a")),
          store.run("XRANGE", store.layout.changes, "-", "+"), store.run("DBSIZE"),
        ]
      }
      let before = try await everything()
      // Another key of the same bucket comes first, so that a check that comes too late would leave it behind.
      let neighbour = try #require((0...).lazy.map { "n\($0)" }.first { store.bucket(of: $0) == store.bucket(of: "a") })
      #expect(
        try await code { _ = try await store.writer.apply([.put(neighbour), .put("a", "other")]) }
          == StoreErrorCode.broken.rawValue)
      #expect(try await code { _ = try await store.writer.seal() } == StoreErrorCode.broken.rawValue)
      #expect(try await everything() == before)
    }
  }

  @Test func `half a store that has lost its meta isn't begun anew, whatever is left of it`() async throws {
    try await StoreBench.with { store in
      // A Redis in which a deletion of all keys got half-way: what is left may hold nothing, then nothing is lost.
      try await store.put(["a"])
      try await store.run("DEL", store.layout.meta, store.layout.changes, store.bucket(of: "a"))
      #expect(try await store.writer.apply([.set("a", .revoked)]).missing == 1)
      #expect(try await store.writer.apply([.put("a")]).version == 1)
      #expect(try await store.discrepancies() == [])
      // Or it has lost the records, and its summary still counts them.
      try await store.run("DEL", store.layout.meta, store.layout.changes)
      try await store.run("HDEL", store.bucket(of: "a"), KeyID(secret: "a".utf8).bytes)
      for edit in [KeyEdit.put("a"), .set("a", .revoked)] {
        #expect(try await code { _ = try await store.writer.apply([edit]) } == StoreErrorCode.broken.rawValue)
      }
      #expect(try await store.run("EXISTS", store.layout.meta).integer() == 0)
    }
  }

  @Test func `batches that are on their way at once begin one store, and keep their order`() async throws {
    try await StoreBench.with { store in
      let batches = [[KeyEdit.put("a")], [.set("a", .suspended)], [.put("a", "other")], [.set("a", .revoked)]]
      let (writer, loop) = (store.writer, store.connection.eventLoop)
      // In one turn of the loop, so that all are on their way before the first is answered.
      let outcomes = try await loop.flatSubmit {
        EventLoopFuture.whenAllSucceed(batches.map { writer.submit($0) }, on: loop)
      }.get()
      // The second needs no store, so it doesn't begin one; by its turn there is one.
      #expect(outcomes.map(\.changed) == [1, 1, 1, 1])
      #expect(outcomes.map(\.version) == [1, 2, 3, 4])
      #expect(Set(outcomes.map(\.epoch)).count == 1)
    }
  }

  @Test func `to begin a store costs Redis a few milliseconds`() async throws {
    try await StoreBench.with { store in
      try await store.run("CONFIG", "SET", "slowlog-log-slower-than", 20_000)
      _ = try await store.writer.apply([.put("a")])
      #expect(try await store.run("SLOWLOG", "LEN").integer() == 0)
    }
  }

  @Test func `a stream with a later id that was taken out again isn't written to in part`() async throws {
    try await StoreBench.with { store in
      try await store.put(["a"])
      try await store.run("XADD", store.layout.changes, "9-0", "op", "x")
      try await store.run("XDEL", store.layout.changes, "9-0")
      #expect(try await code { _ = try await store.writer.apply([.put("b")]) } != nil)
      #expect(try await store.discrepancies() == [])
    }
  }

  @Test func `a store whose buckets don't add up isn't sealed`() async throws {
    try await StoreBench.with { store in
      try await store.put(["a", "b"])
      try await store.run("HDEL", store.bucket(of: "a"), KeyID(secret: "a".utf8).bytes)
      #expect(try await code { _ = try await store.writer.seal() } == StoreErrorCode.broken.rawValue)
      try await store.run("DEL", store.bucket(of: "a"))
      #expect(try await code { _ = try await store.writer.seal() } == StoreErrorCode.broken.rawValue)
      #expect(try await store.run("HGET", store.layout.meta, "sealed") == .null)
    }
  }

  @Test func `an account that nobody could read back isn't written`() async throws {
    try await StoreBench.with { store in
      for account in ["", "a\nb", String(repeating: "x", count: 256)] {
        await #expect(throws: InvalidEdit.self) { _ = try await store.writer.apply([.put("a"), .put("b", account)]) }
      }
      let keys = try await store.run("DBSIZE").integer()
      #expect(keys == 0)
    }
  }

  @Test func `a replica of Redis isn't written to`() async throws {
    try await StoreBench.with { store in
      try await store.put(["a"])
      try await store.run("REPLICAOF", "127.0.0.1", 1)
      #expect(try await code { _ = try await store.writer.apply([.put("b")]) } == "READONLY")
      #expect(try await code { _ = try await store.writer.apply([.set("a", .revoked)]) } == "READONLY")
    }
  }
}
