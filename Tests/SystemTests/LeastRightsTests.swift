// Each process as its user in Deploy/redis/users.acl, on every server that Sluice supports: the user can do its own
// work, and not that of the other users.

import Foundation
import Hiredis
import NIOHTTP1
import NIOPosix
import RedisClient
import RedisFixture
import Testing

@Suite(.timeLimit(.minutes(3))) struct LeastRightsTests {
  /// A Redis with the users of the file, with passwords as Operations says to set them.
  private struct Users {
    let redis: RedisServer
    private let passwords: [String: String]

    init(_ build: RedisBuild) async throws {
      let folder = try TemporaryFolder()
      defer { folder.remove() }
      let file = OperationsPage.path("Deploy/redis/users.acl")
      let script = try OperationsPage.example("sh") { line in
        if line.hasPrefix("users=") { return "users=\(folder.path("users.acl"))" }
        return line.hasPrefix("install ") ? "install -m 600 '\(file)' \"$users\"" : line
      }
      let shell = try await ServiceProcess.start("/bin/sh", ["-euc", script])
      #expect(try await shell.waitForExit() == .exited(0), "\(shell.outputs)")
      try await shell.waitForOutputs()
      passwords = Dictionary(
        uniqueKeysWithValues: shell.standardOutput.lines.map { $0.split(separator: " ").map(String.init) }
          .filter { $0.count == 2 }.map { ($0[0], $0[1]) })
      redis = try await RedisServer.start(
        RedisServerOptions {
          $0.build = build
          $0.appendOnly = .everysec
          $0.arguments = ["--aclfile", folder.path("users.acl")]
        })
    }

    private func password(_ user: String) throws -> String {
      guard let password = passwords[user] else { throw NeverHappened(description: "\(user) has no password") }
      return password
    }

    /// The commands, as this user.
    func deployment(_ user: String) throws -> Deployment {
      try Deployment(
        redis: redis,
        settings: ["SLUICE_REDIS": try "redis://\(user):\(password(user))@127.0.0.1:\(redis.port)"])
    }

    /// What Redis answers this user.
    func ask(_ user: String, _ words: [String]) async throws -> RedisReply {
      var endpoint = redis.endpoint
      (endpoint.user, endpoint.password) = (user, Secret(try password(user)))
      let connection = try await RedisConnection.connected(
        to: endpoint, on: MultiThreadedEventLoopGroup.singleton.any())
      defer { connection.close() }
      return try await connection.execute(RedisCommand(words[0], arguments: Array(words.dropFirst())))
    }
  }

  @Test(arguments: RedisBuild.supported)
  func `each user can do its work`(build: RedisBuild) async throws {
    let users = try await Users(build)
    let publisher = try users.deployment("sluice-publisher")
    try await publisher.publish(keys: 10)
    try await publisher.run("key-publisher", ["verify"])
    try await publisher.run("key-publisher", ["replicas", "0"])
    let (old, new) = (Deployment.key(8), Deployment.key(18))
    try await publisher.run("key-publisher", ["rotate", "--key", old, "--new-key", new, "--revoke-after", "1h"])
    for arguments in [
      ["revoke", "--due"], ["get", new], ["list"], ["position"], ["suspend", "--account", "account-9"],
      ["source", "--max-age", "none"],
    ] {
      try await publisher.run("key-publisher", arguments)
    }
    let api = try await PublishingAPI(at: publisher)
    for answer in [
      try await api.put("sk_of_the_application"), try await api.put("sk_of_the_application", "account-3"),
      try await api.send(.POST, "/v1/accounts/account-4/suspend"), try await api.send(.GET, "/v1/health"),
    ] {
      #expect([200, 409].contains(answer.status), "\(answer)")
    }
    api.process.terminate()
    #expect(try await api.process.waitForExit() == .exited(0), "\(api.process.outputs)")
    #expect(!api.process.outputs.contains("NOPERM"), "\(api.process.outputs)")
    let node = try await users.deployment("sluice-node").startNode("node-1", ["--require-durability", "everysec"])
    try await node.becomesReady()
    let workers = try users.deployment("sluice-worker")
    let worker = try await workers.startWorker("worker-1", ["--when-revoked", "discard"])
    try await eventually("a stranger is refused with a proof") {
      let answer = try await node.push(key: "sk_nobody")
      return answer.status == 401 && answer.body.contains("proof")
    }
    #expect(try await node.push(key: Deployment.key(1)).status == 202)
    try await eventually("it is stored") { try workers.rows().count == 1 }
    try await publisher.run("key-publisher", ["revoke", "--key", Deployment.key(2)])
    try await eventually("the revoked one is refused") { try await node.push(key: Deployment.key(2)).status == 403 }
    try await publisher.run("key-publisher", ["purge", "--older-than", "0", "--yes"])

    let status = try users.deployment("sluice-status")
    try await eventually("it is in sync") {
      let page = try await status.run("sync-status", [], expecting: nil)
      return page.status == .exited(0) && page.standardOutput.text.contains("worker-1")
    }
    // A letter that no worker can read.
    _ = try await users.ask("sluice-operator", ["LPUSH", "sluice:{queue-0}:pending:0", "rubbish"]).orThrow()
    try await eventually("it is a dead letter") {
      let queue = try await status.run("sync-status", ["queue"], expecting: nil)
      return queue.standardOutput.text.contains("1 dead letter")
    }
    try await status.run("sync-status", ["dead", "list"])
    try await status.run("sync-status", ["dead", "discard", "--all", "--yes"], expecting: .exited(2))
    try await users.deployment("sluice-operator").run("sync-status", ["dead", "discard", "--all", "--yes"])

    for process in [node.process, worker] {
      process.terminate()
      #expect(try await process.waitForExit() == .exited(0), "\(process.outputs)")
      #expect(!process.outputs.contains("NOPERM"), "\(process.outputs)")
    }
    try await users.deployment("sluice-operator").run("sync-status", ["forget", "node", "node-1"])
  }

  @Test(arguments: RedisBuild.supported)
  func `no user can do another's work`(build: RedisBuild) async throws {
    let users = try await Users(build)
    try await users.deployment("sluice-publisher").publish(keys: 1)
    let (bucket, meta) = ("sluice:{keys}:bucket:1", "sluice:{keys}:meta")
    let (pending, members) = ("sluice:{queue-0}:pending:0", "sluice:{fleet}:members")
    let script = "#!lua flags=allow-oom\nreturn redis.call('HSET', KEYS[1] or '\(bucket)', 'a', 'b')"
    let denied: [String: [[String]]] = [
      "sluice-node": [
        ["HSET", bucket, "id", "record"], ["HDEL", meta, "sealed"], ["EVAL", script, "1", bucket],
        ["EVAL", script, "0"],
        ["XADD", "sluice:{keys}:changes", "*", "op", "seal"], ["RPOP", pending], ["LRANGE", pending, "0", "-1"],
        ["DEL", pending], ["SET", pending, "x"], ["SET", members, "x"],
      ],
      "sluice-worker": [
        ["HSET", bucket, "id", "record"], ["HDEL", meta, "sealed"], ["EVAL", script, "1", bucket],
        ["EVAL", script, "0"],
        ["XADD", "sluice:{keys}:changes", "*", "op", "seal"], ["CONFIG", "GET", "*"],
      ],
      "sluice-publisher": [
        ["LPUSH", pending, "x"], ["HSET", members, "node/a", "x"], ["HGETALL", members], ["CONFIG", "GET", "*"],
      ],
      "sluice-status": [
        ["HSET", bucket, "id", "record"], ["HSET", members, "node/a", "x"], ["LPUSH", pending, "x"],
        ["SET", "sluice:{keys}:fence", "1"], ["EVAL", script, "1", bucket], ["EVAL", script, "0"],
        ["XDEL", "sluice:{queue-0}:dead", "1-1"],
      ],
      "sluice-operator": [["SET", "other", "x"], ["SCRIPT", "FLUSH"]],
    ]
    let others = [
      ["FLUSHALL"], ["CONFIG", "SET", "maxmemory", "1"], ["ACL", "LIST"], ["KEYS", "*"], ["SHUTDOWN"],
      ["REPLICAOF", "a", "1"], ["GET", "other"], ["CLIENT", "KILL", "ID", "1"], ["MONITOR"], ["DEBUG", "SLEEP", "0"],
    ]
    for (user, commands) in denied {
      for words in commands + others {
        let reply = try await users.ask(user, words)
        guard case .error(let error) = reply else {
          Issue.record("\(user) may \(words): \(reply.shape)")
          continue
        }
        // Servers word this differently for a command that a script runs.
        let isDenied = ["NOPERM", "The user executing the script can't", "ACL failure in script"].contains {
          error.message.contains($0)
        }
        #expect(isDenied, "\(user) \(words): \(error)")
      }
    }
    for user in ["sluice-operator", "sluice-publisher"] {
      #expect(try await users.ask(user, ["HGET", bucket, "a"]) == .null)
    }
    // Without a password nobody gets in.
    await #expect(throws: RedisError.self) {
      try await RedisConnection.connected(to: users.redis.endpoint, on: MultiThreadedEventLoopGroup.singleton.any())
    }
  }

  @Test func `no user has a command that nothing uses`() throws {
    // Those that aren't written out in the sources: what runs scripts, what is encoded by hand, and what a script
    // chooses from two.
    var used: Set = ["eval", "evalsha", "eval_ro", "evalsha_ro", "lpush", "xrange", "xrevrange"]
    let containers: Set = ["client", "cluster", "config", "memory", "xinfo"]
    let sources = OperationsPage.path("Sources")
    let files = try #require(FileManager.default.enumerator(atPath: sources))
    for case let path as String in files where path.hasSuffix(".swift") || path.hasSuffix(".lua") {
      let text = try OperationsPage.file("Sources/\(path)")
      let commands =
        text.matches(of: /redis\.p?call\('([A-Z]+)'(?:, '([A-Z]+)')?/).map { ($0.1, $0.2) }
        + text.matches(of: /RedisCommand\(\s*"([A-Z]+)"(?:,\s*(?:arguments: \[)?"([A-Z]+)")?/).map { ($0.1, $0.2) }
      for (name, rest) in commands {
        let name = name.lowercased()
        used.insert(containers.contains(name) ? "\(name)|\((rest ?? "").lowercased())" : name)
      }
    }
    // Redis lets everybody greet, and a Sentinel has users of its own.
    used.subtract(["auth", "hello", "sentinel"])
    var granted: [String: Set<String>] = [:]
    for line in try OperationsPage.file("Deploy/redis/users.acl").split(separator: "\n") {
      let words = line.split(whereSeparator: { " ()".contains($0) })
      granted[String(words[1])] = Set(words.filter { $0.hasPrefix("+") }.map { String($0.dropFirst()) })
    }
    #expect(granted["admin"] == ["@all"] && granted["default"] == [])
    let users = granted.filter { $0.key.hasPrefix("sluice-") }
    #expect(users.count == 5)
    #expect(users.values.reduce([]) { $0.union($1) } == used)
    // Whoever does everything can do it all.
    #expect(granted["sluice-operator"] == used)
  }
}
