// Refusals and the customers' own database, with real processes: a PostgreSQL with a table of keys, a follower, a Redis
// and nodes.

import Foundation
import NIOHTTP1
import RedisFixture
import Synchronization
import Testing

@Suite(.timeLimit(.minutes(5))) struct SourceProofTests {
  /// A deployment whose keys are in a table.
  private struct Source {
    let postgres: PostgresServer
    let deployment: Deployment

    /// - Parameters:
    ///   - keys: Number of keys in the table: `sk_1` and so on.
    ///   - appendOnly: What Redis keeps when it is killed.
    init(keys: Int, appendOnly: RedisServerOptions.AppendOnly? = nil) async throws {
      postgres = try await PostgresServer.start()
      try await postgres.query(
        """
        CREATE TABLE api_keys (secret text UNIQUE, account text NOT NULL, state text NOT NULL DEFAULT 'active');
        INSERT INTO api_keys SELECT 'sk_' || n, 'account-' || n FROM generate_series(1, \(keys)) n;
        """)
      let options = RedisServerOptions { if let appendOnly { $0.appendOnly = appendOnly } }
      deployment = try Deployment(
        redis: try await RedisServer.start(options), settings: ["SLUICE_SOURCE": postgres.address])
    }

    /// Starts a follower, and waits until the store is equal to the table.
    func follow() async throws -> ServiceProcess {
      let process = try await deployment.start(
        "key-publisher",
        [
          "follow", "--table", "api_keys", "--key-column", "secret", "--account-column", "account", "--state", "state",
          "--install", "--seal", "--mark-every", "100ms",
        ])
      // The lease of a killed follower lasts for 15 s.
      try await process.waitForLine(containing: "the store is equal to the source", within: .seconds(60))
      return process
    }

    func node(_ name: String, _ arguments: [String] = []) async throws -> Node {
      let node = try await deployment.startNode(name, arguments)
      try await node.becomesReady()
      return node
    }

    /// Whether sync-status ends with 1, says that the fleet is in sync, and has a problem with this text.
    func isWrong(_ text: String) async throws -> Bool {
      let run = try await deployment.run("sync-status", [], expecting: nil)
      let lines = run.standardOutput.lines
      return run.status == .exited(1) && lines.first?.hasPrefix("IN SYNC, WITH PROBLEMS") == true
        && lines.contains { $0.contains("wrong: ") && $0.contains(text) }
    }

    func isWell() async throws -> Bool {
      try await deployment.run("sync-status", [], expecting: nil).status == .exited(0)
    }
  }

  private func proof(_ answer: Node.Answer) throws -> [String: Any] {
    let object = try JSONSerialization.jsonObject(with: Data(answer.body.utf8)) as? [String: Any]
    return try #require(object?["proof"] as? [String: Any], "\(answer.body)")
  }

  private func source(_ node: Node) async throws -> [String: Any] {
    let status = try JSONSerialization.jsonObject(with: Data(try await node.get("/status").body.utf8))
    return try #require((status as? [String: Any])?["source"] as? [String: Any])
  }

  /// How far a test's pushes are.
  private final class Progress: Sendable {
    private let counts = Mutex((rounds: 0, admitted: 0))
    var rounds: Int { counts.withLock { $0.rounds } }
    var admitted: Int { counts.withLock { $0.admitted } }
    func noteRound() { counts.withLock { $0.rounds += 1 } }
    func noteAdmitted() { counts.withLock { $0.admitted += 1 } }
  }

  @Test func `a key that is committed and pushed at once is never refused, whoever is killed meanwhile`() async throws {
    let source = try await Source(keys: 10, appendOnly: .always)
    var follower = try await source.follow()
    let proving = ["--prove-against", "source", "--barrier-wait", "500ms"]
    let nodes = [try await source.node("node-1", proving), try await source.node("node-2", proving)]
    let (rounds, keysPerRound, kills) = (200, 50, 3)
    @Sendable func secret(_ round: Int, _ number: Int) -> String { "sk_\(round)_\(number)_new" }
    let progress = Progress()

    try await withThrowingTaskGroup(of: Void.self) { group in
      group.addTask {
        for round in 0..<rounds {
          let rows = (0..<keysPerRound).map { "('\(secret(round, $0))', 'acme')" }.joined(separator: ", ")
          try await source.postgres.query("INSERT INTO api_keys VALUES \(rows)")
          try await withThrowingTaskGroup(of: Void.self) { pushes in
            for number in 0..<keysPerRound {
              pushes.addTask {
                let key = secret(round, number)
                let answer = try await nodes[number % 2].push(key: key)
                // 504: Redis was killed after a payload was sent to it.
                #expect([202, 503, 504].contains(answer.status), "\(key): \(answer.status) \(answer.body)")
                if answer.status == 202 { progress.noteAdmitted() }
              }
            }
            try await pushes.waitForAll()
          }
          progress.noteRound()
        }
      }
      // The next follower waits until the killed one's lease has ended. Meanwhile the rounds go on.
      for kill in 1...kills {
        let round = kill * 40
        try await eventually(within: .seconds(120), "\(round) rounds are over") { progress.rounds >= round }
        follower.kill9()
        #expect(try await follower.waitForExit() == .killed(signal: SIGKILL))
        follower = try await source.follow()
      }
      try await eventually(within: .seconds(120), "nearly all rounds are over") { progress.rounds >= rounds - 30 }
      try await source.deployment.redis.restart()
      try await group.waitForAll()
    }
    #expect(progress.admitted > 1_000, "\(progress.admitted) keys were admitted at their first push")

    // In the end each node admits every key, also those that were pushed to the other node.
    try await withThrowingTaskGroup(of: Void.self) { group in
      for lane in 0..<keysPerRound {
        group.addTask {
          for round in 0..<rounds {
            let key = secret(round, lane)
            for node in nodes {
              try await eventually(within: .seconds(60), "\(key) is admitted by \(node.name)") {
                let answer = try await node.push(key: key)
                #expect([202, 503].contains(answer.status), "\(key): \(answer.status) \(answer.body)")
                return answer.status == 202
              }
            }
          }
        }
      }
      try await group.waitForAll()
    }
    // A key that is in the source and ended there is refused, with the source as a witness.
    try await source.postgres.query("UPDATE api_keys SET state = 'suspended' WHERE secret = 'sk_1'")
    try await eventually("it is refused") { try await nodes[0].push(key: "sk_1").status == 403 }
    try await eventually("an unknown key is refused") { try await nodes[1].push(key: "sk_nobody").status == 401 }
    follower.terminate()
    _ = try await follower.waitForExit()
  }

  @Test func `a refusal by the source is proven as of a moment after its request, or it isn't made`() async throws {
    let source = try await Source(keys: 10)
    var follower = try await source.follow()
    let node = try await source.node("node-1", ["--prove-against", "source", "--barrier-wait", "1s"])
    let began = Date().addingTimeInterval(-0.01)
    let refused = try await node.push(key: "sk_nobody")
    #expect(refused.status == 401)
    let asOf = try #require(try proof(refused)["source_as_of"] as? String)
    let moment = try Date(asOf, strategy: Date.ISO8601FormatStyle(includingFractionalSeconds: true))
    // One machine has one clock.
    #expect(moment >= began)

    follower.kill9()
    _ = try await follower.waitForExit()
    try await source.postgres.query("INSERT INTO api_keys VALUES ('sk_late', 'acme')")
    let undecided = try await node.push(key: "sk_late")
    #expect(undecided.status == 503 && undecided.member("reason") == "source_stale", "\(undecided.body)")
    #expect(undecided.headers["retry-after"].count == 1)
    #expect(try await node.push(key: "sk_1").status == 202)
    try await eventually("it is said") { try await source.isWrong("answers 503 to unknown keys") }
    #expect(try await self.source(node)["stale"] as? Bool == true)
    #expect(try await node.isReady())

    follower = try await source.follow()
    #expect(try await node.push(key: "sk_late").status == 202)
    try await eventually("refusals are proven again") { try await node.push(key: "sk_nobody").status == 401 }
    try await eventually("all is well") { try await source.isWell() }
    follower.terminate()
    _ = try await follower.waitForExit()
  }

  @Test func `beyond the maximum age of the mark nobody is refused, and operators are told what to do`() async throws {
    let source = try await Source(keys: 10)
    var follower = try await source.follow()
    let node = try await source.node("node-1")
    try await source.postgres.query("UPDATE api_keys SET state = 'revoked' WHERE secret = 'sk_2'")
    try await eventually("it is revoked") { try await node.push(key: "sk_2").status == 403 }
    try await source.deployment.run("key-publisher", ["source", "--max-age", "2s"])
    let refused = try await node.push(key: "sk_nobody")
    #expect(refused.status == 401)
    #expect(try proof(refused)["source_as_of"] as? String != nil)
    #expect(try await self.source(node)["prove_against"] as? String == "store")

    follower.kill9()
    _ = try await follower.waitForExit()
    try await eventually("nobody is refused") { try await node.push(key: "sk_nobody").status == 503 }
    for key in ["sk_nobody", "sk_2"] {
      let answer = try await node.push(key: key)
      #expect(answer.status == 503 && answer.member("reason") == "source_stale", "\(key): \(answer.body)")
    }
    #expect(try await node.push(key: "sk_1").status == 202)
    try await eventually("it is said") {
      try await source.isWrong("unknown keys are answered 503, because the source mark")
    }
    _ = try await node.process.waitForLine(containing: "the source mark is too old")
    try await eventually("it is measured") {
      try await node.get("/metrics").body.contains(/sluice_source_stale(?:{.*})? 1/)
    }
    #expect(try await node.get("/metrics").body.contains("sluice_source_mark_age_seconds"))

    follower = try await source.follow()
    try await eventually("they are refused again") {
      let statuses = [try await node.push(key: "sk_nobody").status, try await node.push(key: "sk_2").status]
      return statuses == [401, 403]
    }
    try await eventually("all is well") { try await source.isWell() }
    follower.terminate()
    _ = try await follower.waitForExit()
  }
}
