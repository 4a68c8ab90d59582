// A Redis that denies commands: managed services rename some, and strict ACLs forbid some. Sluice works without them,
// and reports what it can't know.

import Foundation
import Hiredis
import RedisFixture
import Testing

@Suite(.timeLimit(.minutes(5))) struct DeniedCommandTests {
  /// What is renamed, and how it ends where nobody has declared any replicas.
  struct Case: Sendable, CustomTestStringConvertible {
    var build: RedisBuild
    var renamed: [String]
    /// In the node's log.
    var said: String
    /// Why nobody is refused until replicas are declared; nil where unknown keys are refused at once.
    var unproven: String?

    var testDescription: String { "\(build) without \(renamed.joined(separator: ", "))" }

    static let all = RedisBuild.supported.flatMap { build in
      [
        Case(build: build, renamed: ["CLIENT"], said: "CLIENT SETNAME: CLIENT LIST shows no name"),
        Case(build: build, renamed: ["ROLE"], said: "ROLE (INFO is used instead)"),
        Case(build: build, renamed: ["CONFIG"], said: "fsync policy unknown"),
        Case(build: build, renamed: ["WAIT"], said: "mirror complete"),
        Case(
          build: build, renamed: ["INFO"], said: "INFO: Sluice can't see whether this Redis was promoted",
          unproven: "INFO can't be used here"),
        Case(
          build: build, renamed: ["ROLE", "INFO"], said: "ROLE and INFO: replicas can't be detected",
          unproven: "neither ROLE nor INFO can be used here"),
        Case(
          build: build, renamed: ["CLIENT", "ROLE", "INFO", "CONFIG", "WAIT", "HELLO"],
          said: "ROLE and INFO: replicas can't be detected",
          unproven: "neither ROLE nor INFO can be used here"),
      ]
    }
  }

  private static func options(_ build: RedisBuild, renamed: [String]) -> RedisServerOptions {
    RedisServerOptions {
      $0.build = build
      $0.appendOnly = .everysec
      $0.arguments = renamed.flatMap { ["--rename-command", $0, ""] } + ["--repl-diskless-sync-delay", "0"]
    }
  }

  private func put(_ deployment: Deployment, expecting status: Int32) async throws -> String {
    try await deployment.run(
      "key-publisher", ["put", "--key", "sk_new", "--account", "acme", "--confirm-wait", "300ms"],
      expecting: .exited(status)
    ).standardError.text
  }

  @Test(arguments: Case.all)
  func `a server without a command is used without it, and what can't be known is said`(test: Case) async throws {
    let deployment = try Deployment(
      redis: try await RedisServer.start(Self.options(test.build, renamed: test.renamed)))
    try await check(deployment, test)
  }

  @Test(arguments: RedisBuild.supported)
  func `a user without the commands is served like one of a server without them`(build: RedisBuild) async throws {
    let redis = try await RedisServer.start(
      RedisServerOptions {
        $0.build = build
        $0.appendOnly = .everysec
        $0.users = ["alice on >pass ~* &* +@all -client|setname -role -info -config -wait"]
      })
    let deployment = try Deployment(
      redis: redis, settings: ["SLUICE_REDIS": "redis://alice:pass@127.0.0.1:\(redis.port)"])
    try await check(
      deployment,
      Case(
        build: build, renamed: [], said: "CLIENT SETNAME: CLIENT LIST shows no name",
        unproven: "neither ROLE nor INFO can be used here"))
  }

  private func check(_ deployment: Deployment, _ test: Case) async throws {
    // Without a declaration the import is made and not confirmed, which its exit status says.
    try await deployment.publish(keys: 10, expecting: .exited(test.unproven == nil ? 0 : 75))
    let node = try await deployment.startNode("node-1")
    let worker = try await deployment.startWorker("worker-1")
    try await node.becomesReady()
    try await node.process.waitForLine(containing: test.said)
    #expect(try await node.push(key: Deployment.key(1)).status == 202)
    try await eventually("it is stored") { try deployment.rows().count == 1 }
    if let unproven = test.unproven {
      try await eventually("unknown keys aren't refused") {
        let answer = try await node.push(key: "sk_nobody")
        #expect(answer.status == 503)
        return answer.member("reason") == "unfenced"
      }
      try await eventually("sync-status says why, and what to do") {
        let page = try await deployment.run("sync-status", [], expecting: nil)
        let wrong = page.standardOutput.lines.filter { $0.contains("wrong:") }
        return page.status == .exited(1)
          && wrong.contains { $0.contains(unproven) && $0.contains("key-publisher replicas N") }
      }
      let text = try await put(deployment, expecting: 75)
      #expect(text.contains(unproven) && text.contains("key-publisher replicas N"), "\(text)")
      try await deployment.run("key-publisher", ["replicas", "0"])
    }
    try await eventually("a stranger is refused with a proof") {
      let answer = try await node.push(key: "sk_nobody")
      return answer.status == 401 && answer.body.contains("proof")
    }
    #expect(try await put(deployment, expecting: 0) == "")
    try await eventually("it is in sync") {
      try await deployment.run("sync-status", [], expecting: nil).status == .exited(0)
    }
    for process in [node.process, worker] {
      process.terminate()
      #expect(try await process.waitForExit() == .exited(0), "\(process.outputs)")
    }
  }

  private func withReplica(
    _ build: RedisBuild, renamed: [String], _ body: (Deployment, Node) async throws -> Void
  ) async throws {
    let deployment = try Deployment(redis: try await RedisServer.start(Self.options(build, renamed: renamed)))
    let replica = try await RedisServer.start(
      RedisServerOptions {
        $0.build = build
        $0.arguments = ["--replicaof", "127.0.0.1", "\(deployment.redis.port)"]
      })
    try await eventually("the replica follows") {
      try await replica.run("INFO", "replication").string().contains("master_link_status:up")
    }
    try await deployment.publish(keys: 10, expecting: nil)
    try await deployment.run("key-publisher", ["replicas", "1", "--confirm-wait", "300ms"], expecting: nil)
    let node = try await deployment.startNode("node-1")
    try await node.becomesReady()
    try await body(deployment, node)
  }

  @Test(arguments: RedisBuild.supported)
  func `without ROLE a declared replica confirms, as INFO says`(build: RedisBuild) async throws {
    try await withReplica(build, renamed: ["ROLE"]) { deployment, node in
      try await eventually("a stranger is refused") { try await node.push(key: "sk_nobody").status == 401 }
      #expect(try await put(deployment, expecting: 0) == "")
    }
  }

  @Test(arguments: RedisBuild.supported, ["WAIT", "INFO, ROLE"])
  func `a declared replica that can't be asked confirms nothing, and that is said`(
    build: RedisBuild, renamed: String
  ) async throws {
    let said = renamed == "WAIT" ? "WAIT can't be used here" : "neither ROLE nor INFO can be used here"
    try await withReplica(build, renamed: renamed.components(separatedBy: ", ")) { deployment, node in
      try await eventually("unknown keys aren't refused") {
        try await node.push(key: "sk_nobody").member("reason") == "unfenced"
      }
      #expect(try await node.push(key: Deployment.key(1)).status == 202)
      try await eventually("sync-status says why") {
        let page = try await deployment.run("sync-status", [], expecting: nil)
        return page.status == .exited(1)
          && page.standardOutput.lines.contains { $0.contains("wrong:") && $0.contains(said) }
      }
      let text = try await put(deployment, expecting: 75)
      #expect(text.contains(said), "\(text)")
    }
  }

  @Test(arguments: RedisBuild.supported)
  func `where INFO is denied, the nodes tell whether Redis evicts keys, and where that is denied too it is said`(
    build: RedisBuild
  ) async throws {
    for (renamed, said) in [
      (["INFO"], "wrong: Redis evicts keys, as node-1 reports (maxmemory-policy allkeys-lru)"),
      (["INFO", "CONFIG"], "unknown whether it evicts keys. Allow INFO for sync-status's Redis user"),
    ] {
      var options = Self.options(build, renamed: renamed)
      options.evictionPolicy = "allkeys-lru"
      let deployment = try Deployment(redis: try await RedisServer.start(options))
      try await deployment.publish(keys: 1, expecting: .exited(75))
      try await deployment.run("key-publisher", ["replicas", "0"])
      let node = try await deployment.startNode("node-1")
      try await node.becomesReady()
      try await eventually("sync-status says it") {
        let page = try await deployment.run("sync-status", [], expecting: nil)
        return page.status == .exited(renamed.count == 1 ? 1 : 0)
          && page.standardOutput.lines.contains { $0.contains(said) }
      }
    }
  }

  @Test(arguments: RedisBuild.supported)
  func `what is required and can't be told or waited for isn't taken, for a reason in words`(
    build: RedisBuild
  ) async throws {
    for (renamed, requirement) in [("CONFIG", "everysec"), ("WAIT", "replicas:1")] {
      let deployment = try Deployment(redis: try await RedisServer.start(Self.options(build, renamed: [renamed])))
      try await deployment.publish(keys: 1)
      let node = try await deployment.run(
        "ingest-node",
        ["--name", "node-1", "--listen", "127.0.0.1:0", "--admin", "127.0.0.1:0", "--require-durability", requirement],
        expecting: nil)
      #expect(node.status != .exited(0))
      #expect(node.outputs.contains("--require-durability \(requirement) isn't met"), "\(node.outputs)")
      #expect(node.outputs.contains("unknown command"), "\(node.outputs)")
    }
  }
}
