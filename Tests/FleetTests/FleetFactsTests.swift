import Fleet
import Hiredis
import IngestQueue
import KeyReplica
import KeyStore
import NIOCore
import RedisClient
import RedisFixture
import Testing

struct FleetFactsTests {
  @Test func `a Redis with nothing in it has no store and no members`() async throws {
    try await withClient { _, client in
      let facts = try await FleetFacts.read(
        from: client, reports: client, shards: [(client, QueueLayout())], namespace: .standard)
      #expect(facts.store == nil)
      #expect(facts.storeAfter == nil)
      #expect(facts.fleet.nodes.isEmpty)
      #expect(facts.queue == QueueTotals(pending: 0, later: 0, claimed: 0, dead: 0))
    }
  }

  @Test func `the store's position is what its writer made it`() async throws {
    try await withClient { _, client in
      let outcome = try await publish(["a", "b", "c"], to: client)
      let facts = try await FleetFacts.read(
        from: client, reports: client, shards: [(client, QueueLayout())], namespace: .standard)
      let store = try #require(facts.store)
      #expect(store.epoch == outcome.epoch)
      #expect(store.count == 3)
      #expect(store.version == outcome.version + 1)
      #expect(store.sealed)
      #expect(facts.storeAfter?.version == store.version && facts.storeAfter?.digest == store.digest)
    }
  }

  @Test func `the queue's figures are what is in its lists`() async throws {
    try await withClient { _, client in
      func send(_ name: String, _ arguments: any RedisArgument...) async throws {
        _ = try await client.execute(RedisCommand(name, arguments: arguments)).orThrow()
      }
      let layout = QueueLayout()
      let worker = try #require(WorkerName("worker-1"))
      try await send("LPUSH", layout.pending(0), "{\"id\":\"x\",\"received_at\":1700000000000}\npayload", "y", "z")
      try await send("ZADD", layout.later, "1", "x", "2", "y")
      try await send("XADD", layout.dead, "*", "envelope", "x")
      try await send("HSET", layout.workers, "worker-1", "{\"instance\":\"i\",\"seen_at\":1}")
      let header =
        "{\"worker\":\"worker-1\",\"instance\":\"i\",\"batch\":1,\"lease_until\":2,\"claimed_at\":1,\"count\":2}"
      try await send("RPUSH", layout.claim(worker: worker, slot: 3), header, "v", "w")
      let queue = try #require(
        try await FleetFacts.read(
          from: client, reports: client, shards: [(client, QueueLayout())], namespace: .standard
        ).queue)
      #expect(queue.pending == 3)
      #expect(queue.later == 2)
      #expect(queue.dead == 1)
      #expect(queue.claimed == 2)
      #expect(try #require(queue.oldestSeconds) > 1_000)
    }
  }

  @Test func `a queue of several shards is read from all of them, and one that is away costs its own part`()
    async throws
  {
    try await withClient { _, home in
      try await withClient(RedisServerOptions { $0.evictionPolicy = "allkeys-lru" }) { other, there in
        let away = try RedisEndpoint("unix:///nowhere/redis.sock")
        try await withClient(to: away) { nowhere in
          for (client, layout) in [(home, QueueLayout(shard: 0)), (there, QueueLayout(shard: 1))] {
            for _ in 0...layout.shard {
              _ = try await client.execute(RedisCommand("LPUSH", layout.pending(0), "x")).integer()
            }
          }
          let facts = try await FleetFacts.read(
            from: home, reports: home,
            shards: [
              (home, QueueLayout(shard: 0)), (there, QueueLayout(shard: 1)), (nowhere, QueueLayout(shard: 2)),
            ], namespace: .standard, within: .seconds(1))
          #expect(facts.queue?.pending == 3)
          #expect(facts.shards.map(\.shard) == [0, 1, 2])
          #expect(facts.shards[1].place == "\(other.endpoint)")
          #expect(facts.shards[1].redis?.value?.evictionPolicy == "allkeys-lru")
          #expect(facts.shards[0].redis == nil)
          #expect("\(facts.shards[2].queue)".contains("not connected to Redis"))
          let notes = FleetVerdict(facts).problems.map(\.text)
          #expect(
            notes.contains(
              "the queue's Redis \(other.endpoint) evicts keys (maxmemory-policy allkeys-lru): payloads and API keys "
                + "are lost when its memory is full; set noeviction"))
          #expect(notes.contains { $0.hasPrefix("shard 2 of the queue, in \(away), can't be read: not connected") })
        }
      }
    }
  }

  @Test func `Redis's own settings are read`() async throws {
    let options = RedisServerOptions {
      $0.maxMemory = 100 << 20
      $0.evictionPolicy = "allkeys-lru"
      $0.appendOnly = .always
    }
    try await withClient(options) { _, client in
      let redis = try #require(
        try await FleetFacts.read(
          from: client, reports: client, shards: [(client, QueueLayout())], namespace: .standard
        ).redis.value)
      #expect(redis.role == "master")
      #expect(redis.limitBytes == 100 << 20)
      #expect(redis.usedBytes > 0 && redis.usedBytes < 100 << 20)
      #expect(redis.evictionPolicy == "allkeys-lru")
      #expect(redis.appendsToFile)
      #expect(!redis.savingFails)
      #expect(redis.version.contains("."))
      #expect(redis.program == (RedisBuild.underTest == .valkey9 ? "Valkey" : "Redis"))
    }
  }

  @Test func `a store that this build doesn't understand can't be told`() async throws {
    try await withClient { _, client in
      _ = try await client.execute(RedisCommand("HSET", StoreLayout().meta, "schema", "99", "buckets", "7")).integer()
      let error = await #expect(throws: IncompatibleStore.self) {
        try await FleetFacts.read(
          from: client, reports: client, shards: [(client, QueueLayout())], namespace: .standard)
      }
      #expect(error?.description.contains("schema 99") == true)
    }
  }

  @Test func `a damaged description of the store can't be told`() async throws {
    try await withClient { _, client in
      _ = try await publish(["a"], to: client)
      _ = try await client.execute(RedisCommand("HSET", StoreLayout().meta, "version", "many")).integer()
      await #expect(throws: UnreadableStore.self) {
        try await FleetFacts.read(
          from: client, reports: client, shards: [(client, QueueLayout())], namespace: .standard)
      }
    }
  }

  @Test func `whoever may not see Redis's settings still sees the fleet`() async throws {
    let options = RedisServerOptions { $0.users = ["viewer on >secret ~* &* +@all -info -zcard"] }
    try await withRedis(options) { server in
      var endpoint = server.endpoint
      endpoint.user = "viewer"
      endpoint.password = Secret("secret")
      try await withClient(to: endpoint) { client in
        let facts = try await FleetFacts.read(
          from: client, reports: client, shards: [(client, QueueLayout())], namespace: .standard)
        for part in ["\(facts.redis)", "\(facts.onlyShard)"] {
          #expect(part.hasPrefix("unreadable(\"Redis answered: "), "\(part)")
        }
      }
    }
  }

  @Test func `a Redis that is away can't be told, in good time`() async throws {
    try await withRedis { server in
      var options = RedisOptions()
      options.commandDeadline = .milliseconds(200)
      try await withClient(to: server.endpoint, options) { client in
        _ = try await FleetFacts.read(
          from: client, reports: client, shards: [(client, QueueLayout())], namespace: .standard)
        try await server.pause()
        let clock = ContinuousClock()
        let began = clock.now
        await #expect(throws: RedisError.self) {
          try await FleetFacts.read(
            from: client, reports: client, shards: [(client, QueueLayout())], namespace: .standard,
            within: .milliseconds(200))
        }
        #expect(clock.now - began < .seconds(4))
        try server.resume()
      }
    }
  }
}
