// The replica on a real Redis, with the faults of one.

import Hiredis
import KeyReplica
import Logging
import NIOCore
import NIOPosix
import RedisClient
import RedisFixture
import Testing

@testable import KeyStore

@Suite struct ReplicaDriverTests {
  /// A node's mirror of a bench's store.
  private struct Node {
    let driver: ReplicaDriver

    init(_ endpoint: RedisEndpoint, _ change: (inout Replica.Limits) -> Void = { _ in }) {
      var limits = Replica.Limits()
      limits.positionInterval = .milliseconds(100)
      change(&limits)
      var logger = Logger(label: "replica")
      logger.logLevel = .critical
      driver = ReplicaDriver(
        endpoint: endpoint, layout: StoreLayout(), limits: limits, name: "test",
        on: MultiThreadedEventLoopGroup.singleton.any(), logger: logger)
      driver.start()
    }

    func verdict(_ secret: String) async throws -> Verdict {
      try await driver.verdict(of: KeyID(secret: secret.utf8)).get()
    }

    func status() async throws -> ReplicaStatus { try await driver.status().get() }

    func refusal(_ secret: String) async throws -> (reason: RefusalReason, proof: Proof)? {
      if case .refuse(let reason, let proof) = try await verdict(secret) { (reason, proof) } else { nil }
    }

    /// Waits until it could refuse at this version of the store, or any.
    func complete(at version: UInt64? = nil, within limit: Duration = .seconds(15)) async throws {
      try await eventually(within: limit, "the mirror is complete at version \(version.map { "\($0)" } ?? "any")") {
        let status = try await status()
        return status.completeness.state == .complete && status.objection == nil
          && version ?? status.version == status.version
      }
    }

    /// Waits until it can't refuse, and returns why.
    func objection(within limit: Duration = .seconds(15)) async throws -> String {
      var found: String?
      try await eventually(within: limit, "the mirror refuses nobody") {
        found = try await status().objection?.code
        return found != nil
      }
      return found ?? ""
    }
  }

  private func withNode(
    _ options: RedisServerOptions = RedisServerOptions(), limits: @escaping (inout Replica.Limits) -> Void = { _ in },
    populated: Bool = true, _ body: (StoreBench, Node) async throws -> Void
  ) async throws {
    try await StoreBench.with(options) { store in
      if populated {
        try await store.put((0..<100).map { "key \($0)" })
        _ = try await store.writer.seal()
      }
      let node = Node(store.redis.endpoint, limits)
      if populated { try await node.complete(at: 101) }
      try await body(store, node)
      node.driver.stop()
    }
  }

  @Test func `an empty Redis refuses nobody; populated and sealed it is mirrored and refuses with proof`() async throws
  {
    try await withNode(populated: false) { store, node in
      try await eventually("it has looked") { try await node.status().objection == .noStore }
      #expect(try await node.verdict("stranger") == .undecided(.noStore))
      try await store.put((0..<500).map { "key \($0)" })
      try await eventually("it is mirrored") { try await node.status().completeness.state == .complete }
      #expect(try await node.verdict("stranger") == .undecided(.unsealed))
      let outcome = try await store.writer.apply([.set("key 1", .suspended), .set("key 2", .revoked)])
      try await node.driver.canRefuse(within: .milliseconds(1)).get()
      #expect(try await node.status().objection == .unsealed, "it was the limit that ended the wait")
      let refuses = node.driver.canRefuse(within: .seconds(30))
      _ = try await store.writer.seal()
      try await refuses.get()
      #expect(try await node.status().objection == nil)
      try await node.complete(at: 503)

      #expect(node.driver.admits(KeyID(secret: "key 0".utf8)) == "acme")
      #expect(try await node.verdict("key 0") == .admit(account: "acme"))
      let before = Instant.now
      let (reason, proof) = try #require(await node.refusal("stranger"))
      #expect(reason == .unknownKey && proof.epoch == outcome.epoch && proof.version == 503 && proof.asOf >= before)
      #expect(try await node.refusal("key 1")?.reason == .suspendedKey)
      #expect(try await node.refusal("key 2")?.reason == .revokedKey)
      #expect(node.driver.admits(KeyID(secret: "key 1".utf8)) == nil)
      let status = try await node.status()
      #expect(status.keys == 500 && status.completeness.verified == 1024 && status.accounts == 1)
    }
  }

  @Test func `a key that was put is never refused from then on, and a revoked one is refused`() async throws {
    try await withNode { store, node in
      for number in 0..<300 {
        _ = try await store.writer.apply([.put("new \(number)")])
        let verdict = try await node.verdict("new \(number)")
        #expect(verdict == .admit(account: "acme"))
        if number.isMultiple(of: 3) {
          let revoked = try await store.writer.apply([.set("new \(number)", .revoked)])
          // Admitted on the strength of the mirror until the change has come; then refused.
          try await node.complete(at: revoked.version)
          #expect(try await node.refusal("new \(number)")?.reason == .revokedKey)
        }
      }
    }
  }

  @Test func `many changes at once are followed`() async throws {
    try await withNode { store, node in
      try await store.put((0..<5000).map { "more \($0)" })
      try await node.complete(at: 5101)
      #expect(try await node.status().keys == 5100)
    }
  }

  @Test func `however many bad keys come, Redis sees one read per round trip`() async throws {
    try await withNode(limits: { $0.stormShare = 100 }) { store, node in
      func reads() async throws -> Int {
        let info = try await store.run("INFO", "commandstats").string()
        let line = info.split(whereSeparator: \.isNewline).first { $0.hasPrefix("cmdstat_hmget:") }
        let calls = line?.split(separator: ":").last?.split(separator: ",").first { $0.hasPrefix("calls=") }
        return Int(calls?.dropFirst(6) ?? "0") ?? 0
      }
      let before = try await reads()
      let questions = 20_000
      var answers: [EventLoopFuture<Verdict>] = []
      for number in 0..<questions { answers.append(node.driver.verdict(of: KeyID(secret: "bad \(number)".utf8))) }
      var refused = 0
      for answer in answers { if case .refuse = try await answer.get() { refused += 1 } }
      #expect(refused == questions)
      let sent = try await reads() - before
      #expect(sent < questions / 4, "\(sent) reads for \(questions) questions")
    }
  }

  @Test func `in a refusal storm unknown keys are undecided until the store's confirmation arrives`() async throws {
    try await withNode { store, node in
      for number in 0..<9 { #expect(try await node.refusal("bad \(number)")?.reason == .unknownKey) }
      for number in 9..<20 {
        #expect(try await node.verdict("bad \(number)") == .undecided(.refusalStorm(unknown: number + 1, admitted: 0)))
      }
      // Keys that the table alone admits are counted too, and a revoked key is refused.
      for number in 0..<7 { #expect(node.driver.admits(KeyID(secret: "key \(number)".utf8)) == "acme") }
      let revoked = try await store.writer.apply([.set("key 8", .revoked)])
      try await node.complete(at: revoked.version)
      #expect(try await node.refusal("key 8")?.reason == .revokedKey)
      #expect(try await node.verdict("bad 0") == .undecided(.refusalStorm(unknown: 20, admitted: 7)))
      #expect(try await node.status().objection == nil)
      try await store.writer.confirm(unknownKeys: 10)
      try await eventually("the node has heard of it") { try await node.status().recentKeys.confirmed == 10 }
      #expect(try await node.refusal("bad 0")?.reason == .unknownKey)
      #expect(try await node.verdict("bad 20") == .undecided(.refusalStorm(unknown: 21, admitted: 7)))
    }
  }

  @Test func `questions that go over together get their own answers each, those that are in hand when it ends too`()
    async throws
  {
    try await withNode(limits: { $0.stormShare = 100 }) { store, node in
      try await store.put(["good"])
      try await node.complete(at: 102)
      let loop = MultiThreadedEventLoopGroup.singleton.next()
      let desk = node.driver.desk(for: loop)
      func ask(_ secrets: [String]) async throws -> [Verdict] {
        let keys = secrets.map { KeyID(secret: $0.utf8) }
        return try await loop.flatSubmit {
          EventLoopFuture.whenAllSucceed(keys.map { desk.verdict(of: $0) }, on: loop)
        }.get()
      }
      for turn in 0..<20 {
        let secrets = (0..<50).map { $0 % 7 == 0 ? "good" : "bad \(turn) \($0)" }
        for (secret, verdict) in zip(secrets, try await ask(secrets)) {
          switch verdict {
          case .admit(let account): #expect(secret == "good" && account == "acme")
          case .refuse(let reason, _): #expect(secret != "good" && reason == .unknownKey)
          case .undecided(let why): Issue.record("\(secret) is undecided: \(why)")
          }
        }
      }
      node.driver.stop()
      #expect(try await ask(["bad", "worse"]).allSatisfy { if case .undecided = $0 { true } else { false } })
    }
  }

  @Test func `killed connections are made again, and what changed meanwhile is read`() async throws {
    try await withNode { store, node in
      for round in 1...3 {
        let killed = try await store.run("CLIENT", "KILL", "TYPE", "normal", "SKIPME", "yes").integer()
        #expect(killed >= 2)
        try await store.put(["round \(round)"])
        try await node.complete(at: UInt64(101 + round))
        #expect(try await node.verdict("round \(round)") == .admit(account: "acme"))
      }
    }
  }

  @Test func `a Redis that was killed admits whom it knew, refuses nobody, and comes back`() async throws {
    try await withNode(RedisServerOptions { $0.appendOnly = .always }) { store, node in
      try await store.redis.kill9()
      #expect(try await node.objection() == "store_away")
      guard case .undecided(.storeAway) = try await node.verdict("stranger") else {
        Issue.record("a verdict without a store")
        return
      }
      #expect(try await node.verdict("key 1") == .admit(account: "acme"))
      #expect(node.driver.admits(KeyID(secret: "key 1".utf8)) == "acme")
      try await store.redis.restart()
      try await node.complete(at: 101)
      #expect(try await node.refusal("stranger") != nil)
    }
  }

  @Test func `a Redis that is held is noticed by our own deadline, and every question is answered in time`()
    async throws
  {
    try await withNode(limits: { $0.barrierWait = .milliseconds(300) }) { store, node in
      try await store.redis.pause()
      let clock = ContinuousClock()
      let asked = clock.now
      let verdict = try await node.verdict("stranger")
      #expect(clock.now - asked < .seconds(2))
      guard case .undecided = verdict else {
        Issue.record("\(verdict)")
        return
      }
      #expect(node.driver.admits(KeyID(secret: "key 1".utf8)) == "acme")
      #expect(try await node.objection(within: .seconds(6)) == "store_away")
      #expect(try await node.status().age.map { $0 > .milliseconds(300) } == true)
      try store.redis.resume()
      try await node.complete(at: 101)
    }
  }

  @Test func `after FLUSHALL nobody is refused or forgotten, and a store made anew is followed`() async throws {
    try await withNode { store, node in
      let epoch = try await node.status().epoch
      try await store.run("FLUSHALL")
      #expect(["no_store", "diverged"].contains(try await node.objection()))
      #expect(node.driver.admits(KeyID(secret: "key 1".utf8)) == "acme")
      guard case .undecided = try await node.verdict("stranger") else {
        Issue.record("refused without a store")
        return
      }
      try await store.put((0..<101).map { "key \($0)" }, account: "new")
      _ = try await store.writer.seal()
      try await eventually("it is another store") { try await node.objection() == "wrong_store" }
      #expect(node.driver.admits(KeyID(secret: "key 1".utf8)) == "acme")
      try await store.writer.adopt(try #require(try await node.status().store?.id))
      try await node.complete(at: 102)
      #expect(try await node.status().epoch != epoch)
      #expect(node.driver.admits(KeyID(secret: "key 1".utf8)) == "new")
      #expect(try await node.refusal("stranger") != nil)
    }
  }

  @Test func `another store swapped in is never mixed up with the first`() async throws {
    try await withNode { store, node in
      // The same number of changes, but other keys, built aside and swapped in at once.
      let other = StoreLayout(namespace: try #require(Namespace("other")))
      let writer = KeyStoreWriter(connection: store.connection, layout: other)
      for number in 0..<100 { _ = try await writer.apply([.put("other \(number)")]) }
      _ = try await writer.seal()
      let names = try await store.run("KEYS", "*other*").array().map { try $0.string() }
      let moves = names.map { RedisCommand("RENAME", $0, $0.replacing("other:", with: "sluice:")) }
      let drop = try await store.run("KEYS", "sluice:*").array().map { try $0.string() }
      let replies = try await store.connection.execute(
        [RedisCommand("MULTI"), RedisCommand("DEL", arguments: drop)] + moves + [RedisCommand("EXEC")])
      _ = try replies.last?.array()
      for number in 0..<20 { #expect(try await node.refusal("other \(number)") == nil) }
      try await eventually("it is noticed") { try await node.objection() == "wrong_store" }
      try await store.writer.adopt(try #require(try await node.status().store?.id))
      try await eventually("the other store is mirrored") {
        try await node.verdict("other 7") == .admit(account: "acme")
      }
      // It vanished with its store.
      #expect(try await node.verdict("key 7") == .admit(account: "acme"))
      _ = try await store.writer.confirmRemovals()
      try await node.complete(at: 102)
      try await eventually("it is refused") { try await node.refusal("key 7")?.reason == .unknownKey }
    }
  }

  @Test func `DEBUG RELOAD goes unnoticed`() async throws {
    try await withNode { store, node in
      try await store.run("DEBUG", "RELOAD")
      try await store.put(["after"])
      try await node.complete(at: 102)
      #expect(try await node.verdict("after") == .admit(account: "acme"))
    }
  }

  @Test func `a stream that was trimmed behind its back costs a comparison, not a key`() async throws {
    try await withNode { store, node in
      for number in 0..<5 {
        // In one step, so that the feed can't come in between.
        let script = RedisScript(
          name: "put and trim",
          source: "redis.call('XTRIM', KEYS[1], 'MAXLEN', 0) return 1")
        try await store.redis.pause()
        let put = store.writer.submit([.put("trimmed \(number)")])
        let trim = store.connection.run(script, keys: [store.layout.changes])
        try store.redis.resume()
        _ = try await put.get()
        _ = try await trim.get().orThrow()
        #expect(try await node.refusal("trimmed \(number)") == nil)
        try await eventually("it is mirrored") {
          try await node.verdict("trimmed \(number)") == .admit(account: "acme")
        }
      }
      try await node.complete(at: 106)
    }
  }

  @Test(arguments: [["DEL", "BUCKET"], ["HDEL", "BUCKET", "ID"], ["HSET", "BUCKET", "summary", "many"]])
  func `a bucket that was edited by hand is found by the audit`(damage: [String]) async throws {
    try await withNode(limits: { $0.auditInterval = .milliseconds(200) }) { store, node in
      let words: [any RedisArgument] = damage.dropFirst().map { word in
        switch word {
        case "BUCKET": store.bucket(of: "key 1")
        case "ID": KeyID(secret: "key 1".utf8).bytes
        default: word
        }
      }
      try await store.run("COPY", store.bucket(of: "key 1"), "backup")
      _ = try await store.connection.execute(RedisCommand(damage[0], arguments: words)).orThrow()
      #expect(["diverged", "loading", "store_away"].contains(try await node.objection()))
      try await eventually("it says so") { try await node.status().completeness.state == .diverged }
      #expect(node.driver.admits(KeyID(secret: "key 1".utf8)) == "acme")
      #expect(try await node.refusal("stranger") == nil)
      try await store.run("COPY", "backup", store.bucket(of: "key 1"), "REPLACE")
      try await node.complete(at: 101)
    }
  }

  @Test func `a replica of Redis isn't accepted, nor a primary that becomes one`() async throws {
    try await withNode { store, node in
      try await withRedis { second in
        let bench = try await StoreBench(second)
        try await bench.run("REPLICAOF", "127.0.0.1", store.redis.port)
        try await eventually("it is in sync") {
          try await bench.run("ROLE").array()[3].string() == "connected"
        }
        let other = Node(second.endpoint)
        try await eventually("it says why") {
          guard case .storeAway(let why) = try await other.status().objection else { return false }
          return why.contains("slave")
        }
        #expect(try await other.refusal("stranger") == nil)
        try await bench.run("REPLICAOF", "NO", "ONE")
        // What it followed may still be a primary for somebody, until an operator says no.
        try await eventually("it says what to do") {
          guard case .undecided(.unfenced(let why)) = try await other.verdict("stranger") else { return false }
          return why.contains("has been promoted") && why.contains("key-publisher replicas")
        }
        try await bench.run("HSET", bench.layout.meta, "replicas", 0)
        try await eventually("it refuses") { try await other.refusal("stranger") != nil }
        try await bench.run("REPLICAOF", "127.0.0.1", store.redis.port)
        #expect(try await other.refusal("stranger") == nil)
        try await eventually("it says why") { try await other.objection() == "store_away" }
        other.driver.stop()
        bench.connection.close()
      }
      // It has seen that the other one followed.
      try await store.run("HSET", store.layout.meta, "replicas", 0)
      try await eventually("it refuses") { try await node.refusal("stranger") != nil }
    }
  }

  @Test func `stopping answers who waits and who asks later`() async throws {
    try await withNode { store, node in
      try await store.redis.pause()
      let waiting = node.driver.verdict(of: KeyID(secret: "stranger".utf8))
      node.driver.stop()
      #expect(try await waiting.get() == .undecided(.shuttingDown))
      #expect(try await node.verdict("stranger") == .undecided(.shuttingDown))
      try store.redis.resume()
      try await eventually("its connections are gone") {
        try await !store.run("CLIENT", "LIST").string().contains("name=test")
      }
    }
  }
}
