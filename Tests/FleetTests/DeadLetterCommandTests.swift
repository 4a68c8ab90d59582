// sync-status dead as an operator runs it: the real program against a real Redis, judged by what it prints, how it exits, and what is in
// Redis afterwards.

import Foundation
import IngestQueue
import RedisClient
import RedisFixture
import SchemaFixture
import Testing

struct DeadLetterCommandTests {
  @Test func `they are listed, the newest first, with why`() async throws {
    try await withClient { server, client in
      let shard = DeadLetterShard(client: client)
      try await shard.bury([1], account: "acme") { _ in "bad JSON at byte 7" }
      try await shard.bury([2], account: "umbrella") { _ in "too\u{1B}[31m large" }
      let run = try await CommandRun.of("sync-status", ["dead", "--redis", "\(server.endpoint)"])
      #expect(run.status == .exited(0))
      #expect(run.errors == "")
      let lines = run.output.split(separator: "\n")
      #expect(lines.count == 3)
      #expect(lines[0].hasPrefix("ID"))
      #expect(lines[1].hasPrefix(DeadLetterShard.id(2)) && lines[1].hasSuffix("too?[31m large"))
      #expect(lines[2].hasPrefix(DeadLetterShard.id(1)) && lines[2].contains("acme"))
      let filtered = try await CommandRun.of(
        "sync-status", ["dead", "list", "--account", "umbrella", "--redis", "\(server.endpoint)"])
      #expect(filtered.output.split(separator: "\n").count == 2)
      let none = try await CommandRun.of(
        "sync-status", ["dead", "list", "--reason", "nothing", "--redis", "\(server.endpoint)"])
      #expect(none.status == .exited(0))
      #expect(none.output == "")
      #expect(none.errors == "sync-status: there are no such dead letters")
    }
  }

  @Test func `as JSON they are one object a line, of all shards in one order`() async throws {
    try await withClient { server, client in
      // Alternately, so that the order by shards isn't that by time.
      for number in 0..<6 {
        try await DeadLetterShard(client: client, layout: QueueLayout(shard: number % 2)).bury([number]) { _ in "no" }
      }
      try await DeadLetterShard(client: client).send("XADD", [QueueLayout().dead, "*", "by", "hand"])
      let run = try await CommandRun.of(
        "sync-status",
        ["dead", "list", "--json", "--limit", "6", "--queue-shards", "2", "--redis", "\(server.endpoint)"])
      #expect(run.status == .exited(0))
      #expect(run.errors == "sync-status: there are more; to see them give a larger --limit")
      let objects = try run.output.split(separator: "\n").map {
        try #require(try JSONSerialization.jsonObject(with: Data($0.utf8)) as? [String: Any])
      }
      let schema = try JSONSchema(ofCatalogue: "dead-letter.schema.json")
      for line in run.output.split(separator: "\n") {
        #expect(try schema.problems(in: Data(line.utf8)) == [], "\(line)")
      }
      #expect(objects.map { $0["readable"] as? Bool } == [false] + Array(repeating: true, count: 5))
      #expect(objects.dropFirst().map { $0["id"] as? String } == [5, 4, 3, 2, 1].map(DeadLetterShard.id))
      #expect(objects.dropFirst().map { $0["shard"] as? Int } == [1, 0, 1, 0, 1])
      #expect(objects.last?["reason"] as? String == "no")
      #expect(objects.last?["attempts"] as? Int == 1)
    }
  }

  @Test func `one is shown, and its payload comes byte for byte`() async throws {
    try await withClient { server, client in
      let shard = DeadLetterShard(client: client)
      // Larger than what is read in one go, and no text.
      var payload = [UInt8](repeating: 0xFF, count: 5 << 20)
      payload[4 << 20] = 0
      payload[payload.count - 1] = 10
      try await shard.bury([1, 2], payload: payload) { _ in "no" }
      let options = [DeadLetterShard.id(1), "--redis", "\(server.endpoint)"]
      let run = try await CommandRun.of("sync-status", ["dead", "show"] + options)
      #expect(run.status == .exited(0))
      #expect(run.output.contains("reason         no\n"))
      #expect(run.output.contains("envelope       {\"id\":\"\(DeadLetterShard.id(1))\""))
      #expect(run.output.contains("payload        5,242,880 bytes; --payload writes them"))

      let folder = try TemporaryFolder()
      let program = ServiceProcess.folder.appendingPathComponent("sync-status").path
      let saved = try await CommandRun.of(
        "/bin/sh",
        ["-c", "exec \(program) dead show --payload \"$@\" >\(folder.path("payload"))", "sh"] + options)
      #expect(saved.status == .exited(0), "\(saved.errors)")
      #expect(try Data(contentsOf: folder.url("payload")) == Data(payload))

      let unknown = try await CommandRun.of(
        "sync-status", ["dead", "show", DeadLetterShard.id(3), "--redis", "\(server.endpoint)"])
      #expect(unknown.status == .exited(1))
      #expect(unknown.errors == "sync-status: there is no dead letter \(DeadLetterShard.id(3))")
    }
  }

  @Test func `ten thousand over two shards are put back, and workers get each of them`() async throws {
    try await withClient { server, client in
      let shards = (0..<2).map { DeadLetterShard(client: client, layout: QueueLayout(shard: $0)) }
      try await shards[0].bury(0..<6_000) { $0 % 2 == 0 ? "disk full" : "bad JSON" }
      try await shards[1].bury(6_000..<10_000) { _ in "disk full" }
      let options = ["--queue-shards", "2", "--redis", "\(server.endpoint)"]
      let run = try await CommandRun.of("sync-status", ["dead", "requeue", "--reason", "disk"] + options)
      #expect(run.status == .exited(0), "\(run.errors)")
      #expect(run.output == "requeued 7,000 dead letters\n  7,000 × disk full")
      #expect(try await shards[0].survey().state.pending == 3_000)
      #expect(try await shards[0].survey().state.dead == 3_000)
      #expect(try await shards[1].survey().state.pending == 4_000)
      #expect(try await shards[1].survey().requeued == 4_000)
      let all = try await CommandRun.of("sync-status", ["dead", "requeue", "--all", "--limit", "100"] + options)
      #expect(all.output == "requeued 100 dead letters\n  100 × bad JSON")
    }
  }

  @Test func `nothing is thrown away without --yes`() async throws {
    try await withClient { server, client in
      let shard = DeadLetterShard(client: client)
      try await shard.bury(0..<10) { "reason \($0 % 2)" }
      let options = ["--redis", "\(server.endpoint)"]
      let asked = try await CommandRun.of("sync-status", ["dead", "discard", "--all"] + options)
      #expect(asked.status == .exited(1))
      #expect(asked.output == "would discard 10 dead letters\n  5 × reason 0\n  5 × reason 1")
      #expect(asked.errors == "sync-status: nothing was changed; to discard them use --yes")
      #expect(try await shard.survey().state.dead == 10)

      let some = try await CommandRun.of(
        "sync-status",
        ["dead", "discard", "--yes", "--id", DeadLetterShard.id(4), "--id", "\(DeadLetterShard.id(5)) nobody"] + options
      )
      #expect(some.status == .exited(1))
      #expect(some.output == "discarded 2 dead letters\n  1 × reason 0\n  1 × reason 1")
      #expect(some.errors == "sync-status: there is no dead letter nobody")

      let all = try await CommandRun.of("sync-status", ["dead", "discard", "--all", "--yes"] + options)
      #expect(all.status == .exited(0))
      #expect(try await shard.survey().state.dead == 0)
      #expect(try await shard.survey().discarded == 10)
    }
  }

  @Test func `what can't be read is listed, saved, kept when all are put back, and thrown away by its hash`()
    async throws
  {
    try await withClient { server, client in
      let shard = DeadLetterShard(client: client)
      try await shard.bury(0..<3) { _ in "no" }
      try await shard.send("XADD", [shard.layout.dead, "*", "envelope", "precious"])
      let options = ["--redis", "\(server.endpoint)"]
      let list = try await CommandRun.of("sync-status", ["dead"] + options)
      let line = try #require(list.output.split(separator: "\n").dropFirst().first)
      #expect(line.contains("not a dead letter: the field id isn't there"))
      let hash = String(line.prefix { $0 != " " })
      #expect(hash.count == 40)
      let saved = try await CommandRun.of("sync-status", ["dead", "show", "--payload", hash] + options)
      #expect(saved.output == "precious")
      let back = try await CommandRun.of("sync-status", ["dead", "requeue", "--all"] + options)
      #expect(back.status == .exited(1))
      #expect(back.output == "requeued 3 dead letters\n  3 × no")
      #expect(back.errors.contains("1 can't be read and stay"))
      let gone = try await CommandRun.of("sync-status", ["dead", "discard", "--id", hash, "--yes"] + options)
      #expect(gone.status == .exited(0))
      #expect(try await shard.survey().state.dead == 0)
    }
  }

  @Test func `a shard that is away is said, and the others are done`() async throws {
    try await withRedis { away in
      try await withClient { server, client in
        try await DeadLetterShard(client: client).bury(0..<5) { _ in "no" }
        try await away.kill9()
        let options = ["--redis", "\(server.endpoint)", "--queue", "\(server.endpoint) \(away.endpoint)"]
        for (arguments, output) in [
          (["list", "--json", "--limit", "1"], "\"readable\":true"), (["show", DeadLetterShard.id(9)], ""),
          (
            ["discard", "--id", "\(DeadLetterShard.id(0)) \(DeadLetterShard.id(9))", "--yes"],
            "discarded 1 dead letter"
          ),
          (["requeue", "--all"], "requeued 4 dead letters"),
        ] {
          let run = try await CommandRun.of("sync-status", ["dead"] + arguments + options)
          #expect(run.status == .exited(2), "\(arguments): \(run.errors)")
          #expect(run.errors.contains("sync-status: unknown: shard 1 in \(away.endpoint): "), "\(arguments)")
          #expect(output.isEmpty ? run.output.isEmpty : run.output.contains(output), "\(arguments): \(run.output)")
        }
      }
    }
  }

  @Test func `killed in the middle it has lost none and doubled none`() async throws {
    try await withClient { server, client in
      let shard = DeadLetterShard(client: client)
      let count: Int64 = 10_000
      try await shard.bury(0..<Int(count)) { _ in "no" }
      for verb in [["requeue"], ["discard", "--yes"]] {
        let before = try await shard.survey()
        let process = try await ServiceProcess.start(
          "sync-status", ["dead"] + verb + ["--all", "--redis", "\(server.endpoint)"])
        try await eventually("it has begun") { try await shard.survey().state.dead < before.state.dead }
        process.kill9()
        _ = try await process.waitForExit()
        let after = try await shard.survey()
        #expect(after.state.dead + after.state.pending + after.discarded == count, "\(verb)")
        #expect(after.state.pending == after.requeued, "\(verb)")
      }
      // Another run does the rest.
      let rest = try await CommandRun.of(
        "sync-status", ["dead", "discard", "--all", "--yes", "--redis", "\(server.endpoint)"])
      #expect(rest.status == .exited(0))
      let after = try await shard.survey()
      #expect(after.state.dead == 0 && after.state.pending + after.discarded == count)
    }
  }

  @Test func `64: it isn't clear which are meant`() async throws {
    for (arguments, words) in [
      (["requeue"], "expected either --id, or --all, or at least one of"),
      (["discard", "--all", "--reason", "x"], "expected either --id, or --all, or at least one of"),
      (["discard", "--id", "a", "--worker", "x"], "expected either --id, or --all, or at least one of"),
      (["discard", "--id", "a b$"], "--id on the command line: expected IDs of dead letters"),
      (["requeue", "--all", "--limit", "0"], "--limit on the command line: expected a whole number from 1"),
      (["list", "--limit", "100001"], "--limit on the command line"), (["show"], "Missing expected argument '<id>'"),
      (["list", "--worker", "a b"], "--worker on the command line: expected 1 to 64"),
    ] {
      let run = try await CommandRun.of("sync-status", ["dead"] + arguments)
      #expect(run.status == .exited(64), "\(arguments)")
      #expect(run.errors.contains(words), "\(arguments): \(run.errors)")
    }
  }

  @Test func `what is in the environment doesn't widen what the command line says`() async throws {
    try await withClient { server, client in
      let shard = DeadLetterShard(client: client)
      try await shard.bury(0..<3) { "reason \($0)" }
      let run = try await CommandRun.of(
        "sync-status", ["dead", "requeue", "--reason", "reason 1", "--redis", "\(server.endpoint)"],
        environment: ["SLUICE_ALL": "yes", "SLUICE_WORKER": "somebody"])
      #expect(run.status == .exited(0), "\(run.errors)")
      #expect(run.output == "requeued 1 dead letter\n  1 × reason 1")
    }
  }

  @Test func `a confirmation can't come from the environment`() async throws {
    try await withClient { server, client in
      let shard = DeadLetterShard(client: client)
      try await shard.bury(0..<3) { "reason \($0)" }
      for (arguments, status, words) in [
        (["--reason", "reason 1"], 1, "use --yes"), (["--all"], 1, "use --yes"), (["--yes"], 64, "--all"),
      ] {
        let run = try await CommandRun.of(
          "sync-status", ["dead", "discard", "--redis", "\(server.endpoint)"] + arguments,
          environment: ["SLUICE_YES": "1", "SLUICE_ALL": "1"])
        #expect(run.status == .exited(Int32(status)) && run.errors.contains(words), "\(arguments): \(run.errors)")
      }
      let run = try await CommandRun.of(
        "sync-status", ["dead", "discard", "--all", "--yes", "--redis", "\(server.endpoint)"])
      #expect(run.status == .exited(0) && run.output.contains("discarded 3 dead letters"), "\(run.output)")
    }
  }
}
