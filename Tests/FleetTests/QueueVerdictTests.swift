@testable import Fleet
import Foundation
import IngestQueue
import RedisClient
import RedisFixture
import SchemaFixture
import Testing

/// The queue's problems, found in real surveys of a real Redis, and shown by the command that an operator runs.
struct QueueVerdictTests {
  @Test func `the age of a payload follows from the nodes' clocks where Redis's is wrong`() {
    func time(_ clocks: [Double], _ change: (inout FleetReading) -> Void = { _ in }) -> Double {
      var reading = Sample.facts(
        nodes: clocks.enumerated().map { number, wrong in
          Sample.member(Sample.node("node-\(number)") { $0.reportedAt = Sample.now - 0.5 + wrong }, age: 0.5)
        }
      ).fleet
      change(&reading)
      return reading.nodesTime(whenRedisSays: Sample.now) - Sample.now
    }
    #expect(time([]) == 0)
    #expect(time([0, 0.5]) == 0)
    #expect(time([4]) == 0, "near enough")
    // Redis is an hour ahead of all, or behind.
    #expect(abs(time([-3_600, -3_601]) + 3_600) < 1)
    #expect(abs(time([3_600, 3_601]) - 3_600) < 1)
    // One node's clock is wrong.
    #expect(time([-3_600, 0.2]) == 0)
    #expect(time([-3_600]) { $0.nodes[0].stopped = true } == 0)
  }

  /// A worker that reports and looks for work.
  private func serve(_ shards: [DeadLetterShard], reportTo client: RedisClient) async throws {
    let worker = QueueConsumer(client: client, layout: shards[0].layout, worker: try #require(WorkerName("worker-1")))
    for shard in shards {
      let worker = QueueConsumer(client: shard.client, layout: shard.layout, worker: worker.worker)
      _ = try await worker.claim(slot: 0, takesSuspects: false)
    }
    try await FleetDirectory(client: client).write(Sample.worker())
  }

  private func run(_ server: RedisServer, _ arguments: [String] = []) async throws -> CommandRun {
    try await CommandRun.of("sync-status", ["queue", "--redis", "\(server.endpoint)"] + arguments)
  }

  private static func schemaProblems(in run: CommandRun) throws -> [String] {
    try JSONSchema(ofCatalogue: "queue-status.schema.json").problems(in: Data(run.output.utf8))
  }

  @Test func `0: payloads get through`() async throws {
    try await withClient { server, client in
      try await serve([DeadLetterShard(client: client)], reportTo: client)
      let run = try await run(server)
      #expect(run.status == .exited(0), "\(run.output)")
      #expect(
        run.output.hasPrefix(
          "FLOWING: 0 waiting, 0 claimed, 0 to be tried again, 0 dead letters\n\nSHARDS\n"))
      #expect(run.output.contains("worker-1  working"))
      #expect(run.errors == "")
    }
  }

  @Test func `1: what is wrong comes first, then each list and claim`() async throws {
    try await withClient { server, client in
      let shard = DeadLetterShard(client: client)
      try await shard.bury(0..<3) { "reason \($0 % 2)" }
      try await shard.send("LPUSH", [shard.layout.pending(7), "{\"received_at\":1700000000000}\nx", "y"])
      try await shard.send("ZADD", [shard.layout.later, "1", "x"])
      let run = try await run(server)
      #expect(run.status == .exited(1))
      let lines = run.output.split(separator: "\n", omittingEmptySubsequences: false).map(String.init)
      #expect(
        lines[0] == "PROBLEMS: 2 waiting, 0 claimed, 1 to be tried again, 3 dead letters")
      #expect(lines[1] == "  wrong: no worker is running, and 3 payloads wait")
      #expect(lines.contains { $0.hasPrefix("  wrong: the oldest payload in shard 0 was received") })
      #expect(lines.contains("  wrong: 3 dead letters: see sync-status dead"))
      #expect(lines.contains { $0.contains("7        2") })
      #expect(lines.contains("      0      2  reason 0"))
    }
  }

  @Test func `1: nobody takes from a shard that has payloads`() async throws {
    try await withClient { server, client in
      let shards = (0..<2).map { DeadLetterShard(client: client, layout: QueueLayout(shard: $0)) }
      try await serve([shards[0]], reportTo: client)
      try await shards[1].send("LPUSH", [shards[1].layout.pending(0), "x"])
      let run = try await run(server, ["--queue-shards", "2"])
      #expect(run.status == .exited(1))
      #expect(run.output.contains("wrong: no worker claims from shard 1: do all workers have the same --queue"))
    }
  }

  @Test func `1: a claim's lease has ended and nobody has taken it back`() async throws {
    try await withClient { server, client in
      let shard = DeadLetterShard(client: client)
      try await serve([shard], reportTo: client)
      let name = try #require(WorkerName("worker-1"))
      let header =
        "{\"worker\":\"worker-1\",\"instance\":\"i\",\"batch\":1,\"lease_until\":2,\"claimed_at\":1,\"count\":2}"
      try await shard.send("RPUSH", [shard.layout.claim(worker: name, slot: 3), header, "v", "w"])
      let run = try await run(server)
      #expect(run.status == .exited(1))
      let wrong = "wrong: 2 payloads in shard 0 belong to workers that ended, and no worker requeues them"
      #expect(run.output.contains(wrong))
      #expect(run.output.contains("worker-1     3         2       ended"))
    }
  }

  @Test func `2: a shard is away, and the others are shown`() async throws {
    try await withRedis { away in
      try await away.kill9()
      try await withClient { server, client in
        try await serve([DeadLetterShard(client: client)], reportTo: client)
        let arguments = ["--queue", "\(server.endpoint) \(away.endpoint)"]
        let page = try await run(server, arguments)
        #expect(page.status == .exited(2))
        #expect(page.errors.hasPrefix("sync-status: unknown: shard 1 in \(away.endpoint) can't be read: "))
        #expect(page.output.hasPrefix("PARTLY UNKNOWN: 0 waiting"))
        let document = try await run(server, arguments + ["--json"])
        #expect(document.status == .exited(2))
        #expect(document.output.contains("\"verdict\" : \"unknown\""))
        #expect(document.output.contains("\"waiting\" : null"))
        #expect(try Self.schemaProblems(in: document) == [])
      }
    }
  }

  @Test func `the document has all figures`() async throws {
    try await withClient { server, client in
      let shard = DeadLetterShard(client: client)
      try await shard.bury(0..<3) { "reason \($0 % 2)" }
      try await serve([shard], reportTo: client)
      try await shard.send("HSET", [shard.layout.stats, "done", 12_345])
      // One payload in a claim, one in a list, and one that waits for a retry in another shard.
      try await shard.send("LPUSH", [shard.layout.pending(0), DeadLetterShard.element(9)])
      let worker = try #require(WorkerName("worker-1"))
      _ = try await QueueConsumer(client: client, layout: shard.layout, worker: worker).claim(
        slot: 1, takesSuspects: false)
      try await shard.send("LPUSH", [shard.layout.pending(7), DeadLetterShard.element(10)])
      let other = DeadLetterShard(client: client, layout: QueueLayout(shard: 1))
      try await other.send("ZADD", [other.layout.later, "1", "x"])
      let two = try await self.run(server, ["--json", "--queue-shards", "2"])
      #expect(two.status == .exited(1))
      #expect(try Self.schemaProblems(in: two) == [])
      for text in ["\"slot\" : 1", "\"list\" : 7", "\"lease_until\" : ", "\"later\" : 1"] {
        #expect(two.output.contains(text), "\(text)\n\(two.output)")
      }
      let run = try await run(server, ["--json"])
      #expect(run.status == .exited(1))
      for text in [
        "\"verdict\" : \"not_well\"", "\"done\" : 12345", "\"dead\" : 3", "\"dead_bytes\" : ",
        "\"count\" : 2", "\"next_due_at\" : null",
        "\"per_second\" : 812.4", "\"exit_code\" : 1", "\"error\" : null",
      ] {
        #expect(run.output.contains(text), "\(text)")
      }
    }
  }
}
