// How real load balancers react to the agent-check and to readiness, in each state of a node.

import RedisFixture
import Testing

struct BalancerPoolTests {
  /// Waits until HAProxy has made this of a node.
  private func becomes(
    _ status: String, weight: Int? = nil, _ node: Node, _ proxy: HAProxy
  ) async throws {
    try await eventually("HAProxy says \(status) of \(node.name)") {
      let opinion = try await proxy.opinion(of: node.name)
      guard opinion.status == status, weight == nil || opinion.weight == weight else {
        throw NeverHappened(description: "\(opinion)")
      }
      return true
    }
  }

  /// One push through the balancer, on a connection of its own.
  private func push(_ key: String, _ proxy: HAProxy) async throws -> WireAnswer {
    try await push(key, to: proxy.port)
  }

  private func push(_ key: String, to port: Int, path: String = "/v1/events") async throws -> WireAnswer {
    let connection = try await WireConnection.connected(to: "127.0.0.1:\(port)")
    connection.send(
      "POST \(path) HTTP/1.1\r\nHost: sluice\r\nAuthorization: Bearer \(key)\r\nContent-Length: 2\r\n\r\n{}")
    return try await connection.answer()
  }

  @Test func `a node has its share when ready, a little while it can only admit, and nothing else when it can't`()
    async throws
  {
    let deployment = try await Deployment(appendOnly: .always)
    try await deployment.publish(keys: 100)
    let folder = ["--grace", "2s", "--state-dir", deployment.folder.path("state")]
    var node = try await deployment.startNode("node-1", folder)
    let proxy = try await HAProxy.start { try RecommendedHAProxy.configuration(port: $0, nodes: [node.addresses]) }
    // HAProxy begins by trusting everybody.
    try await node.becomesReady()
    try await becomes("UP", weight: 100, node, proxy)
    #expect(try await push(Deployment.key(1), proxy).status == 202)

    try await deployment.redis.stop()
    try await becomes("UP", weight: 5, node, proxy)
    #expect(try await node.isReady(), "whoever asks for readiness keeps it as well")
    // The key is admitted, and it is the node that says so: only the queue is away. An unknown one isn't refused.
    #expect(try await push(Deployment.key(1), proxy).member("reason") == "queue_away")
    let unproven = try await push("sk_nobody", proxy)
    #expect(unproven.status == 503)
    #expect(unproven.field("retry-after") != nil)
    #expect(unproven.member("reason") == "store_away")
    try await deployment.redis.restart()
    try await becomes("UP", weight: 100, node, proxy)

    node.process.terminate()
    try await becomes("DRAIN (agent)", node, proxy)
    #expect(try await !node.isReady())
    #expect(try await node.process.waitForExit() == .exited(0))
    try await deployment.redis.stop()

    // Without Redis and without memory.
    node = try await deployment.startNode("node-1", at: node.addresses)
    try await becomes("DOWN (agent)", node, proxy)
    #expect(try await !node.isReady())
    let refused = try await push(Deployment.key(1), proxy)
    #expect(refused.status == 503)
    #expect(refused.member("reason") == "no_node")
    #expect(refused.field("retry-after") == "5")
    node.process.kill9()
    _ = try await node.process.waitForExit()

    // Without Redis, and knowing what it knew.
    node = try await deployment.startNode("node-1", folder, at: node.addresses)
    try await becomes("UP", weight: 5, node, proxy)
    #expect(try await !node.isReady(), "the first time it has to be the whole store")
    #expect(try await push(Deployment.key(1), proxy).member("reason") == "queue_away")
    try await deployment.redis.restart()
    try await becomes("UP", weight: 100, node, proxy)
    #expect(try await node.isReady())
    #expect(try await push(Deployment.key(1), proxy).status == 202)
    #expect(try await push("sk_nobody", proxy).status == 401)
  }

  @Test(arguments: RecommendedHAProxy.Check.allCases)
  func `when all nodes have lost Redis the pool isn't empty`(check: RecommendedHAProxy.Check) async throws {
    let deployment = try await Deployment(appendOnly: .always)
    try await deployment.publish(keys: 100)
    var nodes: [Node] = []
    for name in ["node-1", "node-2"] { nodes.append(try await deployment.startNode(name)) }
    let proxy = try await HAProxy.start {
      try RecommendedHAProxy.configuration(port: $0, nodes: nodes.map(\.addresses), check: check)
    }
    for node in nodes { try await node.becomesReady() }
    for node in nodes { try await becomes("UP", weight: 100, node, proxy) }
    try await deployment.redis.stop()
    for node in nodes { try await becomes("UP", weight: 5, node, proxy) }
    for number in 0..<20 {
      let answer = try await push(Deployment.key(number), proxy)
      #expect(answer.status == 503)
      #expect(answer.member("reason") == "queue_away")
    }
    try await deployment.redis.restart()
    for node in nodes { try await becomes("UP", weight: 100, node, proxy) }
    #expect(try await push(Deployment.key(1), proxy).status == 202)
  }

  @Test func `a node that alone has lost Redis costs no client anything`() async throws {
    let deployment = try await Deployment()
    try await deployment.publish(keys: 100)
    let door = try MovableAddress()
    try door.lead(to: deployment.redis)
    // node-1 reaches Redis by a door that closes.
    let nodes = [
      try await deployment.startNode("node-1", ["--redis", "\(door.endpoint)"]),
      try await deployment.startNode("node-2"),
    ]
    let proxy = try await HAProxy.start {
      try RecommendedHAProxy.configuration(port: $0, nodes: nodes.map(\.addresses))
    }
    for node in nodes { try await becomes("UP", weight: 100, node, proxy) }
    let address = "127.0.0.1:\(proxy.port)"
    let load = SteadyLoad { try await WireConnection.connected(to: address) }
    let tally = try await load.running(connections: 8) {
      try await load.goesOn(for: 100)
      try door.withdraw()
      try await deployment.cutConnections(of: "node-1")
      try await becomes("UP", weight: 5, nodes[0], proxy)
      let before = try await proxy.opinion(of: "node-1").requests
      try await eventually(within: .seconds(30), "it is asked all the same") {
        try await proxy.opinion(of: "node-1").requests > before + 5
      }
      try door.lead(to: deployment.redis)
      try await becomes("UP", weight: 100, nodes[0], proxy)
    }
    print(tally.requests, tally.valid, tally.unknown)
    // What was under way to Redis when the connection was cut may have arrived, and HAProxy must not repeat it: at
    // most one for each connection, which its client is told.
    let failures = tally.failures.filter { !($0.contains(": 504 ") && $0.contains("outcome_unknown")) }
    #expect(failures.isEmpty && tally.failures.count <= 8, "\(tally.failures.prefix(5))")
  }

  @Test func `nginx asks another node where one can't, and passes on what the last one says`() async throws {
    let deployment = try await Deployment(appendOnly: .always)
    try await deployment.publish(keys: 100)
    let door = try MovableAddress()
    try door.lead(to: deployment.redis)
    // node-1 reaches Redis by a door that closes.
    let nodes = [
      try await deployment.startNode("node-1", ["--redis", "\(door.endpoint)"]),
      try await deployment.startNode("node-2"),
    ]
    for node in nodes { try await node.becomesReady() }
    let nginx = try await Nginx.start { try RecommendedNginx.configuration(port: $0, nodes: nodes.map(\.addresses)) }
    try door.withdraw()
    try await deployment.cutConnections(of: "node-1")
    try await eventually("node-1 can't hand over") {
      try await nodes[0].push(key: Deployment.key(1)).status == 503
    }
    for number in 0..<20 { #expect(try await push(Deployment.key(number), to: nginx.port).status == 202) }
    #expect(try await nodes[0].get("/status").body.contains(/"503" ?: ?[1-9]/), "it was never asked")

    try await deployment.redis.stop()
    try await eventually("node-2 can't either") { try await nodes[1].push(key: Deployment.key(1)).status == 503 }
    for node in nodes { #expect(try await node.isReady()) }
    for number in 0..<20 {
      let answer = try await push(Deployment.key(number), to: nginx.port, path: "/v1/traces")
      #expect(answer.status == 503)
      #expect(answer.field("retry-after") != nil && answer.field("content-type") == "application/x-protobuf")
    }
    try await deployment.redis.restart()
    try await eventually("it goes on") { try await push(Deployment.key(1), to: nginx.port).status == 202 }
  }
}
