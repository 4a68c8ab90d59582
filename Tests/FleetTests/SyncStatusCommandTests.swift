// sync-status as an operator runs it: the real program against a real Redis, judged by what it prints and how it exits.

import Fleet
import Foundation
import Hiredis
import IngestQueue
import KeyReplica
import RedisClient
import RedisFixture
import Testing

struct SyncStatusCommandTests {
  private func run(
    _ arguments: [String], environment: [String: String] = [:], within limit: Duration = .seconds(20)
  ) async throws -> CommandRun {
    try await CommandRun.of("sync-status", arguments, environment: environment, within: limit)
  }

  /// A report of a node that mirrors the store as it is now.
  private func node(_ name: String, of client: RedisClient, _ change: (inout NodeReport) -> Void = { _ in })
    async throws
    -> NodeReport
  {
    let store = try #require(
      try await FleetFacts.read(from: client, reports: client, shards: [], namespace: .standard).store)
    return Sample.node(name) {
      $0.epoch = store.epoch
      $0.version = store.version
      $0.storeVersion = store.version
      $0.keys = store.count
      $0.reportedAt = Date.now.timeIntervalSince1970
      change(&$0)
    }
  }

  /// Runs the body while members report as often as real ones do.
  private func reporting(
    _ reports: [any MemberReport], to client: RedisClient, _ body: () async throws -> Void
  ) async throws {
    let directory = FleetDirectory(client: client)
    // Write all reports once before the body begins.
    for report in reports { try await directory.write(report) }
    let tasks = reports.map { report in Task { await keepReporting(report, directory) } }
    defer { for task in tasks { task.cancel() } }
    try await body()
  }

  private func keepReporting(_ report: some MemberReport, _ directory: FleetDirectory) async {
    await Heartbeat(directory, every: .milliseconds(500), logger: quiet) { report }.run()
  }

  @Test func `0: all nodes are in sync`() async throws {
    try await withClient { server, client in
      try await publish(["a", "b"], to: client)
      try await reporting([try await node("node-1", of: client)], to: client) {
        let run = try await run(["--redis", "\(server.endpoint)"])
        #expect(run.status == .exited(0))
        #expect(run.output.hasPrefix("IN SYNC: 1 of 1 node in sync\n"))
        #expect(run.output.contains("in \(server.endpoint), namespace sluice"))
        #expect(!run.output.contains("\u{1B}"))
        #expect(run.errors == "")
      }
    }
  }

  @Test func `the queue may be elsewhere, in several`() async throws {
    try await withClient { server, client in
      try await publish(["a"], to: client)
      try await withClient { other, there in
        let pushed = RedisCommand("LPUSH", QueueLayout(shard: 2).pending(0), "x")
        _ = try await there.execute(pushed).integer()
        try await reporting([try await node("node-1", of: client)], to: client) {
          let run = try await run([
            "--redis", "\(server.endpoint)", "--queue", "\(other.endpoint) redis://127.0.0.1:1", "--queue-shards", "3",
            "--json",
          ])
          #expect(run.status == .exited(0))
          let json = try JSONSerialization.jsonObject(with: Data(run.output.utf8)) as? [String: Any]
          let document = try #require(json)
          let queue = try #require(document["queue"] as? [String: Any])
          #expect(queue["pending"] as? Int == 1)
          #expect(queue["shards_away"] as? Int == 3)
          let shards = try #require(document["queue_shards"] as? [[String: Any]])
          #expect(shards.map { $0["pending"] as? Int } == [0, 0, 1, nil, nil, nil])
          #expect(shards[3]["redis"] as? String == "redis://127.0.0.1:1")
        }
      }
    }
  }

  @Test func `1: some are not, and what is wrong comes first`() async throws {
    try await withClient { server, client in
      try await publish(["a", "b"], to: client)
      let behind = try await node("node-2", of: client) {
        $0.completeness = .init(state: .loading, verified: 512, total: 1_024)
      }
      try await reporting([try await node("node-1", of: client), behind], to: client) {
        let run = try await run(["--redis", "\(server.endpoint)"])
        #expect(run.status == .exited(1))
        #expect(
          run.output.hasPrefix(
            "NOT IN SYNC: 1 of 2 nodes in sync\n  wrong: node-2 has verified 512 of 1,024 buckets\n"))
        #expect(run.errors == "")
      }
    }
  }

  @Test func `1: nobody has reported, and nothing was ever published`() async throws {
    try await withClient { server, _ in
      let run = try await run([], environment: ["SLUICE_REDIS": "\(server.endpoint)"])
      #expect(run.status == .exited(1))
      #expect(run.output.contains("wrong: there is no key store in this Redis and namespace: run key-publisher import"))
      #expect(run.output.contains("wrong: no node has reported"))
    }
  }

  @Test func `2: Redis is away`() async throws {
    try await withClient { server, _ in
      try await server.kill9()
      let page = try await run(["--redis", "\(server.endpoint)"])
      #expect(page.status == .exited(2))
      #expect(page.output == "")
      #expect(page.errors.hasPrefix("sync-status: unknown: not connected to Redis"))
      let document = try await run(["--redis", "\(server.endpoint)", "--json"])
      #expect(document.status == .exited(2))
      #expect(document.output.contains("\"verdict\" : \"unknown\""))
      #expect(document.errors.hasPrefix("sync-status: unknown"))
    }
  }

  @Test func `2: Redis doesn't answer`() async throws {
    try await withClient { server, _ in
      try await server.pause()
      let run = try await run(["--redis", "\(server.endpoint)"])
      #expect(run.status == .exited(2))
      #expect(run.errors.hasPrefix("sync-status: unknown"))
      try server.resume()
    }
  }

  @Test func `2: the password is wrong, and isn't shown`() async throws {
    try await withRedis(RedisServerOptions { $0.password = "right" }) { server in
      let run = try await run(["--redis", "redis://:hunter2@127.0.0.1:\(server.port)"])
      #expect(run.status == .exited(2))
      #expect(run.errors.contains("WRONGPASS"))
      #expect(!run.errors.contains("hunter2"))
    }
  }

  @Test func `64: the command line makes no sense`() async throws {
    for (arguments, words) in [
      (["--redis", "nonsense"], "--redis on the command line: not a Redis address"),
      (["--namespace", "a:b"], "--namespace on the command line: expected 1 to 64"),
      (["--nonsense"], "Unknown option"),
      (["wait"], "--timeout is missing"),
      (["wait", "--timeout", "soon"], "--timeout on the command line: expected a length of time"),
      (["wait", "--timeout", "1s", "--node", "a", "--count", "1"], "expected either --node or --count"),
      (["wait", "--timeout", "1s", "--count", "0"], "--count on the command line: expected a whole number from 1"),
      (["forget", "printer", "x"], "expected node or worker, got \"printer\""),
    ] {
      let run = try await run(arguments)
      #expect(run.status == .exited(64), "\(arguments)")
      #expect(run.errors.contains(words), "\(arguments): \(run.errors)")
    }
    let run = try await run([], environment: ["SLUICE_JSON": "perhaps"])
    #expect(run.status == .exited(64))
    #expect(run.errors.contains("--json from the environment variable SLUICE_JSON: expected true or false"))
  }

  @Test func `the document and the exit status say the same`() async throws {
    try await withClient { server, client in
      try await publish(["a"], to: client)
      let run = try await run(["--json"], environment: ["SLUICE_REDIS": "\(server.endpoint)"])
      #expect(run.status == .exited(1))
      let object = try #require(try JSONSerialization.jsonObject(with: Data(run.output.utf8)) as? [String: Any])
      #expect(object["exit_code"] as? Int == 1)
      #expect((object["store"] as? [String: Any])?["keys"] as? Int == 1)
    }
  }

  @Test func `watching shows it again and again, through an outage, until Ctrl-C`() async throws {
    try await withClient { server, client in
      try await publish(["a"], to: client)
      let process = try await ServiceProcess.start("sync-status", ["--watch", "--redis", "\(server.endpoint)"])
      try await eventually("two pages came") {
        process.standardOutput.lines.count { $0.hasPrefix("NOT IN SYNC") } >= 2
      }
      try await server.kill9()
      try await process.waitForLine(containing: "UNKNOWN: ")
      try await server.restart()
      try await process.waitForLine(containing: "there is no key store")
      #expect(process.status == nil)
      process.signal(SIGINT)
      #expect(try await process.waitForExit() == .killed(signal: SIGINT))
    }
  }

  @Test func `watching as JSON prints one document a line`() async throws {
    try await withClient { server, _ in
      let process = try await ServiceProcess.start(
        "sync-status", ["--watch", "--json", "--redis", "\(server.endpoint)"])
      try await eventually("two documents came") { process.standardOutput.lines.count >= 2 }
      process.signal(SIGINT)
      _ = try await process.waitForExit()
      for line in process.standardOutput.lines.prefix(2) {
        #expect(throws: Never.self) { try JSONSerialization.jsonObject(with: Data(line.utf8)) }
      }
    }
  }

  // MARK: wait

  @Test func `waiting ends as soon as the node is in sync, and says what it waits for`() async throws {
    try await withClient { server, client in
      try await publish(["a"], to: client)
      let process = try await ServiceProcess.start(
        "sync-status", ["wait", "--node", "node-1", "--timeout", "60s", "--redis", "\(server.endpoint)"])
      try await process.waitForLine(containing: "waiting: no node called node-1 has reported")
      let directory = FleetDirectory(client: client)
      let complete = try await node("node-1", of: client)
      var loading = complete
      loading.completeness = .init(state: .loading, verified: 5, total: 1_024)
      try await directory.write(loading)
      try await process.waitForLine(containing: "waiting: node-1 has verified 5 of 1,024 buckets")
      try await directory.write(complete)
      try await process.waitForLine(containing: "in sync: node-1")
      #expect(try await process.waitForExit() == .exited(0))
    }
  }

  @Test func `waiting is for the store as it was at the start, not for a node that was level before`() async throws {
    try await withClient { server, client in
      try await publish(["a"], to: client)
      let before = try await node("node-1", of: client)
      try await publish(["b"], to: client, seal: false)
      let after = try await node("node-1", of: client)
      try await reporting([before], to: client) {
        #expect(try await run(["--redis", "\(server.endpoint)"]).status == .exited(0))
        let run = try await run(["wait", "--timeout", "300ms", "--redis", "\(server.endpoint)"])
        #expect(run.status == .exited(1))
        #expect(run.errors.contains("node-1 is 1 change behind"))
      }
      try await reporting([after], to: client) {
        let run = try await run(["wait", "--timeout", "30s", "--redis", "\(server.endpoint)"])
        #expect(run.status == .exited(0))
      }
    }
  }

  @Test func `waiting for so many nodes`() async throws {
    try await withClient { server, client in
      try await publish(["a"], to: client)
      let nodes = [try await node("node-1", of: client), try await node("node-2", of: client) { $0.epoch = "other" }]
      try await reporting(nodes, to: client) {
        let options = ["--timeout", "300ms", "--redis", "\(server.endpoint)"]
        #expect(try await run(["wait", "--count", "1"] + options).status == .exited(0))
        let two = try await run(["wait", "--count", "2"] + options)
        #expect(two.status == .exited(1))
        #expect(two.errors.contains("1 of 2 nodes in sync"))
        #expect(two.errors.contains("node-2 still mirrors epoch "))
        // The command line overrides SLUICE_NODE in the environment.
        let overruled = try await run(["wait", "--count", "1"] + options, environment: ["SLUICE_NODE": "node-2"])
        #expect(overruled.status == .exited(0))
        let named = try await run(["wait"] + options, environment: ["SLUICE_NODE": "node-2"])
        #expect(named.status == .exited(1))
      }
    }
  }

  @Test func `a wait that ran out says what is missing`() async throws {
    try await withClient { server, _ in
      let run = try await run(["wait", "--timeout", "300ms", "--redis", "\(server.endpoint)"])
      #expect(run.status == .exited(1))
      #expect(run.errors.contains("not in sync after 0.3 s:"))
      #expect(run.errors.hasSuffix("sync-status: no node has reported"))
      #expect(run.output == "")
    }
  }

  @Test func `a wait in which Redis was away all the time can't tell`() async throws {
    try await withClient { server, _ in
      try await server.kill9()
      let run = try await run(["wait", "--timeout", "300ms", "--redis", "\(server.endpoint)"])
      #expect(run.status == .exited(2))
      #expect(run.errors.contains("unknown: Redis couldn't be read for 0.3 s"))
    }
  }

  @Test func `a wait goes on through an outage`() async throws {
    try await withClient { server, client in
      let process = try await ServiceProcess.start(
        "sync-status", ["wait", "--timeout", "60s", "--redis", "\(server.endpoint)"])
      try await process.waitForLine(containing: "waiting: no node has reported")
      try await server.kill9()
      try await process.waitForLine(containing: "waiting: unknown")
      try await server.restart()
      try await process.waitForLine(containing: "Redis can be read again")
      try await publish(["a"], to: client)
      try await reporting([try await node("node-1", of: client)], to: client) {
        let status = try await process.waitForExit()
        #expect(status == .exited(0))
      }
    }
  }

  // MARK: forget

  @Test func `a forgotten member no longer keeps the fleet out of sync`() async throws {
    try await withClient { server, client in
      try await publish(["a"], to: client)
      let ended = try await node("node-2", of: client) { $0.epoch = "other" }
      try await FleetDirectory(client: client).write(ended)
      try await reporting([try await node("node-1", of: client)], to: client) {
        let options = ["--redis", "\(server.endpoint)"]
        #expect(try await run(options).status == .exited(1))
        let forget = try await run(["forget", "node", "node-2"] + options)
        #expect(forget.status == .exited(0))
        #expect(forget.output == "node node-2 is off the list")
        #expect(try await run(options).status == .exited(0))
        let again = try await run(["forget", "node", "node-2"] + options)
        #expect(again.status == .exited(1))
        #expect(again.errors == "sync-status: there is no node called node-2")
      }
    }
  }
}
