// Whether a Redis is alone, on every server that Sluice runs on: what never was a replica proves refusals, whoever copies the data set from
// it; what has had one doesn't, until an operator has said how many there are.

import Hiredis
import RedisFixture
import Testing

@Suite(.timeLimit(.minutes(3))) struct LoneRedisTests {
  /// With an append-only file, as Operations says.
  private func deploy(_ build: RedisBuild) async throws -> Deployment {
    try Deployment(redis: try await RedisServer.start(Self.options(build)))
  }

  private static func options(_ build: RedisBuild) -> RedisServerOptions {
    RedisServerOptions {
      $0.build = build
      $0.appendOnly = .everysec
      // A program that asks for the data set gets it at once. By default Redis waits five seconds for more replicas.
      $0.arguments = ["--repl-diskless-sync-delay", "0"]
    }
  }

  private func replication(_ deployment: Deployment) async throws -> String {
    try await deployment.redis.run("INFO", "replication").string()
  }

  private func put(_ deployment: Deployment, expecting status: Int32) async throws -> ServiceProcess {
    try await deployment.run(
      "key-publisher", ["put", "--key", "sk_new", "--account", "acme", "--confirm-wait", "200ms"],
      expecting: .exited(status))
  }

  /// A stranger is refused with a proof, a put is done when it is done, and sync-status finds nothing wrong.
  private func expectWell(_ deployment: Deployment, _ node: Node, _ when: Comment) async throws {
    let answer = try await node.push(key: "sk_nobody")
    #expect(answer.status == 401 && answer.body.contains("proof"), when)
    #expect(try await put(deployment, expecting: 0).standardError.text == "", when)
    try await eventually("sync-status finds the node in sync") {
      try await deployment.run("sync-status", [], expecting: nil).status == .exited(0)
    }
  }

  /// Nobody is refused by this node nor by a new one, and who publishes or looks is told what to do.
  private func expectUndecided(
    _ deployment: Deployment, _ node: Node, because text: String, and unconfirmed: String? = nil, _ when: Comment
  ) async throws {
    try await eventually("the node has noticed") {
      try await node.push(key: "sk_nobody").member("reason") == "unfenced"
    }
    let fresh = try await deployment.startNode("node-fresh")
    for node in [node, fresh] {
      try await eventually("\(node.name) has the mirror") { try await node.push(key: Deployment.key(1)).status == 202 }
      try await eventually("\(node.name) finds refusals unproven") {
        let answer = try await node.push(key: "sk_nobody")
        #expect(answer.status == 503, when)
        return answer.member("reason") == "unfenced"
      }
    }
    try await eventually("sync-status says what to do") {
      let status = try await deployment.run("sync-status", [], expecting: nil)
      let wrong = status.standardOutput.lines.filter { $0.contains("wrong:") }
      return status.status == .exited(1)
        && wrong.contains { $0.contains(text) && $0.contains("key-publisher replicas") }
    }
    let run = try await put(deployment, expecting: 75)
    #expect(
      run.standardError.text.contains(unconfirmed ?? text) && run.standardError.text.contains("key-publisher replicas"),
      "\(when): \(run.standardError.text)")
    fresh.process.terminate()
    _ = try await fresh.process.waitForExit()
  }

  @Test(arguments: RedisBuild.supported)
  func `a Redis with an append-only file and without replicas proves refusals, also after a restart`(
    build: RedisBuild
  ) async throws {
    let deployment = try await deploy(build)
    try await deployment.publish(keys: 100)
    let node = try await deployment.startNode("node-1")
    try await node.becomesReady()
    try await expectWell(deployment, node, "at first")
    try await deployment.redis.restart()
    try await node.becomesReady()
    try await eventually("refusals are proven again") { try await node.push(key: "sk_nobody").status == 401 }
    try await expectWell(deployment, node, "after a restart")
  }

  @Test(arguments: RedisBuild.supported)
  func `who copies the data set ends no refusals, neither before nor during nor after`(build: RedisBuild) async throws {
    let deployment = try await deploy(build)
    let redis = deployment.redis
    func backUp() async throws {
      let copy = try await ServiceProcess.start(
        "/usr/bin/redis-cli", ["-p", "\(redis.port)", "--rdb", deployment.folder.path("copy.rdb")])
      #expect(try await copy.waitForExit() == .exited(0), "\(copy.outputs)")
    }
    try await backUp()
    try await deployment.publish(keys: 100)
    try await backUp()
    let node = try await deployment.startNode("node-1")
    try await node.becomesReady()
    try await expectWell(deployment, node, "after backups")

    // Enough data that it can't all be sent to a client that reads nothing.
    try await redis.run("DEBUG", "POPULATE", 100_000, "filler", 100)
    for greeting in [["SYNC"], ["PSYNC ? -1"], ["REPLCONF listening-port 7777", "REPLCONF capa eof", "PSYNC ? -1"]] {
      let copy = try DataSetCopy(of: redis)
      for line in greeting.dropLast() { try copy.ask(line) }
      try copy.say(greeting[greeting.count - 1])
      try await eventually("the copy has begun") { try await replication(deployment).contains("connected_slaves:1") }
      try await expectWell(deployment, node, "while \(greeting) copies")
      #expect(try await replication(deployment).contains("connected_slaves:1"))
      copy.end()
      try await eventually("the copy has ended") { try await replication(deployment).contains("connected_slaves:0") }
    }
    try await redis.run("FLUSHALL")
    try await deployment.publish(keys: 100)
    try await deployment.run("key-publisher", ["adopt", try await node.storeID()])
    try await eventually("refusals are proven again") { try await node.push(key: "sk_nobody").status == 401 }

    let follower = try await ServiceProcess.start("/usr/bin/redis-cli", ["-p", "\(redis.port)", "--replica"])
    try await eventually("it is online") { try await replication(deployment).contains("state=online") }
    try await expectWell(deployment, node, "while redis-cli --replica follows")
    let second = try await deployment.startNode("node-2")
    try await second.becomesReady()
    try await expectWell(deployment, second, "a new node while redis-cli --replica follows")
    follower.kill9()
    try await eventually("it is gone") { try await replication(deployment).contains("connected_slaves:0") }
    try await expectWell(deployment, node, "after redis-cli --replica")
  }

  @Test(arguments: RedisBuild.supported)
  func `a replica that a node has seen ends refusals when it leaves, until somebody says how many there are`(
    build: RedisBuild
  ) async throws {
    let deployment = try await deploy(build)
    try await deployment.publish(keys: 100)
    let node = try await deployment.startNode("node-1")
    try await node.becomesReady()
    try await expectWell(deployment, node, "at first")
    let replica = try await RedisServer.start(Self.options(build))
    try await replica.run("REPLICAOF", "127.0.0.1", deployment.redis.port)
    // Nobody publishes meanwhile: it is the node that sees it.
    try await eventually("it is seen") { try await node.push(key: "sk_nobody").member("reason") == "unfenced" }
    try await eventually("it is written down") {
      try await deployment.redis.run("GET", "sluice:{keys}:followers") == .bulk([UInt8(ascii: "1")])
    }
    try await replica.kill9()
    try await eventually("it is gone") { try await replication(deployment).contains("connected_slaves:0") }
    try await expectUndecided(deployment, node, because: "1 replica followed this", "when the replica is gone")
    // A new process of Redis knows of no replica. The store does.
    try await deployment.redis.restart()
    try await eventually("the node is back") { try await node.push(key: "sk_nobody").member("reason") == "unfenced" }
    try await expectUndecided(deployment, node, because: "1 replica followed this", "after a restart of Redis")

    try await deployment.run("key-publisher", ["replicas", "0"])
    try await eventually("refusals are proven again") { try await node.push(key: "sk_nobody").status == 401 }
    try await expectWell(deployment, node, "when an operator has said that there is none")
  }

  @Test(arguments: RedisBuild.supported)
  func `a replica that the publisher has seen must bear the primary out from then on`(build: RedisBuild) async throws {
    let deployment = try await deploy(build)
    let replica = try await RedisServer.start(Self.options(build))
    try await replica.run("REPLICAOF", "127.0.0.1", deployment.redis.port)
    try await eventually("it is online") { try await replication(deployment).contains("state=online") }
    try await deployment.publish(keys: 100)
    let node = try await deployment.startNode("node-1")
    try await node.becomesReady()
    try await expectWell(deployment, node, "with a replica")
    try await replica.pause()
    try await expectUndecided(
      deployment, node, because: "1 of 2 servers", and: "0 of 1 declared replicas", "when the replica is cut off")
    try replica.resume()
    try await eventually("refusals are proven again") { try await node.push(key: "sk_nobody").status == 401 }
    try await expectWell(deployment, node, "when it is back")
    try await replica.kill9()
  }

  @Test(arguments: RedisBuild.supported)
  func `a Redis that was promoted while nobody looked proves nothing until somebody says how many there are`(
    build: RedisBuild
  ) async throws {
    let former = try await deploy(build)
    try await former.publish(keys: 100)
    let promoted = try Deployment(redis: try await RedisServer.start(Self.options(build)))
    try await promoted.redis.run("REPLICAOF", "127.0.0.1", former.redis.port)
    try await eventually("it is online") { try await replication(former).contains("state=online") }
    try await eventually("it has everything") { try await replication(promoted).contains("master_link_status:up") }
    try await promoted.redis.run("REPLICAOF", "NO", "ONE")
    // What the former primary still takes may be lost here, and what is put here is unknown there.
    let node = try await promoted.startNode("node-1")
    try await expectUndecided(promoted, node, because: "has been promoted", "at the promoted Redis")
    try await promoted.run("key-publisher", ["replicas", "0"])
    try await eventually("refusals are proven again") { try await node.push(key: "sk_nobody").status == 401 }
    try await expectWell(promoted, node, "when an operator has said that it is alone")
  }
}
