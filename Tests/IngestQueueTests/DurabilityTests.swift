import Hiredis
import RedisClient
import RedisFixture
import Testing

@testable import IngestQueue

struct DurabilityTests {
  private func settings(
    _ file: String, _ sync: String, onRewrite: String = "no", policy: String? = "noeviction"
  ) -> RedisReply {
    let words =
      ["appendonly", file, "appendfsync", sync, "no-appendfsync-on-rewrite", onRewrite]
      + (policy.map { ["maxmemory-policy", $0] } ?? [])
    return .array(words.map { .bulk(Array($0.utf8)) })
  }

  private func durability(
    _ settings: RedisReply, persistence: String = "aof_enabled:1\r\n", replication: String = "connected_slaves:0\r\n"
  ) -> Durability {
    Durability(answers: [settings, .bulk(Array((persistence + replication).utf8)), .integer(0)])
  }

  @Test func `what Redis does for a write is read from its settings`() {
    #expect(durability(settings("no", "always")).disk == .memory)
    #expect(durability(settings("yes", "no")).disk == .unsynced)
    #expect(durability(settings("yes", "everysec")).disk == .everySecond)
    #expect(durability(settings("yes", "always")).disk == .always)
    // With no-appendfsync-on-rewrite, Redis syncs nothing while it rewrites the file.
    #expect(durability(settings("yes", "always", onRewrite: "yes")).disk == .unsynced)
  }

  @Test func `where CONFIG is forbidden, INFO tells of the file, and the rest is unknown`() {
    let forbidden = RedisReply.error(RedisServerError(message: "NOPERM no CONFIG"))
    let withFile = durability(forbidden, persistence: "loading:0\r\naof_enabled:1\r\n")
    #expect(withFile.description == "append-only file, fsync policy unknown")
    let without = durability(forbidden, persistence: "aof_enabled:0\r\n")
    #expect(without.description == "in memory only")
    let nothing = Durability(answers: [forbidden, forbidden, forbidden])
    #expect(nothing.description == "unknown, replicas unknown")
    for found in [withFile, without, nothing] {
      for requirement in [DurabilityRequirement.everySecond, .always] {
        #expect(requirement.shortfall(of: found)?.contains("NOPERM no CONFIG") == true)
      }
    }
    #expect(DurabilityRequirement.replicas(1).shortfall(of: nothing) != nil)
    #expect(DurabilityRequirement.none.shortfall(of: nothing) == nil)
  }

  @Test func `replicas count that are online and were heard lately`() {
    let replication = """
      role:master\r
      connected_slaves:6\r
      slave0:ip=127.0.0.1,port=1,state=online,offset=10,lag=0\r
      slave1:ip=127.0.0.1,port=2,state=online,offset=10,lag=5\r
      slave2:ip=127.0.0.1,port=3,state=online,offset=10,lag=6\r
      slave3:ip=127.0.0.1,port=4,state=wait_bgsave,offset=0,lag=0\r
      slave4:ip=127.0.0.1,port=5,state=online,offset=0,lag=-1\r
      slave5:ip=127.0.0.1,port=0,state=online,offset=0,lag=0\r

      """
    let found = durability(settings("yes", "always"), replication: replication)
    #expect(found.replicas == 2)
    #expect(found.description == "fsync before each answer, 2 replicas")
    #expect(DurabilityRequirement.replicas(2).shortfall(of: found) == nil)
    #expect(
      DurabilityRequirement.replicas(3).shortfall(of: found)
        == "--require-durability replicas:3 isn't met: only 2 replicas acknowledged data in the last 5 s. Start more replicas, or lower --require-durability"
    )
  }

  @Test func `less than is required is said with what to change`() {
    let order = ["no", "everysec", "always"].map { durability(settings("yes", $0)) }
    for (level, found) in order.enumerated() {
      #expect((DurabilityRequirement.everySecond.shortfall(of: found) == nil) == (level >= 1))
      #expect((DurabilityRequirement.always.shortfall(of: found) == nil) == (level >= 2))
      for other in order[..<level] { #expect(other.isWorse(than: found) && !found.isWorse(than: other)) }
    }
    #expect(
      DurabilityRequirement.always.shortfall(of: durability(settings("no", "everysec")))
        == "--require-durability always isn't met: appendonly is no. Set appendonly yes, appendfsync always and no-appendfsync-on-rewrite no, and allow CONFIG GET for this user; or lower --require-durability"
    )
  }

  @Test func `a Redis that evicts any key keeps nothing, whatever its disk does`() {
    func found(_ policy: String?, byInfo: String = "") -> Durability {
      let settings = settings("yes", "always", policy: policy)
      return durability(settings, persistence: "aof_enabled:1\r\n\(byInfo)")
    }
    let demanding: [DurabilityRequirement] = [.everySecond, .always, .replicas(1)]
    for policy in ["allkeys-lru", "allkeys-lfu", "allkeys-random"] {
      for found in [found(policy), found(nil, byInfo: "maxmemory_policy:\(policy)\r\n")] {
        #expect(found.description.hasSuffix(", but Redis evicts keys when full (\(policy)): payloads can be lost"))
        #expect(found.isWorse(than: Durability(disk: .memory, replicas: 0)))
        for requirement in demanding {
          #expect(requirement.shortfall(of: found)?.contains("Set maxmemory-policy noeviction") ?? false)
        }
        #expect(DurabilityRequirement.none.shortfall(of: found) == nil)
      }
    }
    // Only keys with an expiry: payloads have none.
    for policy in ["noeviction", "volatile-lru", "volatile-ttl"] {
      #expect(found(policy).description == "fsync before each answer")
      #expect(DurabilityRequirement.always.shortfall(of: found(policy)) == nil)
    }
  }

  @Test(arguments: [RedisServerOptions.AppendOnly.off, .everysec, .always])
  func `a real Redis says what it does, also to who may only read INFO`(mode: RedisServerOptions.AppendOnly)
    async throws
  {
    let options = RedisServerOptions {
      $0.appendOnly = mode
      $0.users = ["reader on >pass ~* &* +@all -config"]
    }
    try await withRedis(options) { server in
      func read(_ endpoint: RedisEndpoint) async throws -> Durability {
        let connection = try await RedisConnection.connected(to: endpoint, on: singletonLoop)
        defer { connection.close() }
        return Durability(answers: try await connection.execute(Durability.questions))
      }
      var reader = server.endpoint
      reader.user = "reader"
      reader.password = Secret("pass")
      let all = try await read(server.endpoint)
      let some = try await read(reader)
      #expect(all.replicas == 0 && some.replicas == 0)
      switch mode {
      case .off:
        #expect(all.disk == .memory)
        #expect(some.description == "in memory only")
      case .everysec, .always:
        #expect(all.disk == (mode == .always ? .always : .everySecond))
        #expect(some.description == "append-only file, fsync policy unknown")
      }
    }
  }
}
