// Which requests real load balancers repeat at other nodes, counted at the nodes. A load balancer sees only the status:
// 503 permits another node. An answer that must not be repeated has another status.

import RedisFixture
import Testing

struct BalancerRepetitionTests {
  /// The recommended configurations.
  enum Balancer: String, CaseIterable, Sendable {
    case haproxy, nginx
  }

  /// A running one; killed with its object.
  private struct Running {
    let port: Int
    let process: any Sendable

    init(_ balancer: Balancer, before nodes: [Node]) async throws {
      let addresses = nodes.map(\.addresses)
      switch balancer {
      case .haproxy:
        let proxy = try await HAProxy.start { try RecommendedHAProxy.configuration(port: $0, nodes: addresses) }
        (port, process) = (proxy.port, proxy)
      case .nginx:
        let nginx = try await Nginx.start { try RecommendedNginx.configuration(port: $0, nodes: addresses) }
        (port, process) = (nginx.port, nginx)
      }
    }
  }

  /// A push in a dialect, its head and its body apart as most clients send them.
  private func push(_ path: String, _ fields: [String], _ connection: WireConnection) async throws -> WireAnswer {
    let body = "[{}]"
    let head = [
      "POST \(path) HTTP/1.1", "Host: sluice", "Content-Type: application/json", "Content-Length: \(body.utf8.count)",
    ]
    connection.send((head + fields).joined(separator: "\r\n") + "\r\n\r\n")
    connection.send(body)
    return try await connection.answer(within: .seconds(20))
  }

  private func startNodes(_ deployment: Deployment, _ arguments: [String] = []) async throws -> [Node] {
    var nodes: [Node] = []
    for name in ["node-1", "node-2"] { nodes.append(try await deployment.startNode(name, arguments)) }
    for node in nodes { try await node.becomesReady() }
    return nodes
  }

  /// How many answers the nodes have given to pushes, by reason.
  private func answers(_ nodes: [Node]) async throws -> [String: Int] {
    var counts: [String: Int] = [:]
    for node in nodes {
      for match in try await node.get("/metrics").body.matches(
        of: /sluice_push_answers_total\{[^}]*reason="([^"]+)"[^}]*\} (\d+)/)
      {
        counts[String(match.1), default: 0] += Int(match.2) ?? 0
      }
    }
    return counts
  }

  /// How each kind of client pushes, which answer means "accepted" to it, and which answer it gets over its rate.
  private static func dialects(_ key: (Int) -> String) -> [(path: String, fields: [String], taken: Int, tooFast: Int)] {
    [
      ("/v1/events", ["X-API-Key: \(key(0))"], 202, 429),
      ("/v1/traces", ["X-API-Key: \(key(1))"], 200, 504),
      ("/1/log_entries?api_key=\(key(2))", [], 200, 500),
      ("/1/batch/data", ["X-Honeycomb-Team: \(key(3))"], 200, 429),
      ("/api/1/store/", ["X-Sentry-Auth: Sentry sentry_key=\(key(4))"], 200, 429),
    ]
  }

  @Test(arguments: Balancer.allCases)
  func `a push beyond its account's rate reaches one node, whoever sends it`(balancer: Balancer) async throws {
    let deployment = try await Deployment()
    try await deployment.publish(keys: 10)
    let nodes = try await startNodes(deployment, ["--account-rate", "2"])
    let running = try await Running(balancer, before: nodes)
    let connection = try await WireConnection.connected(to: "127.0.0.1:\(running.port)")
    let before = try await answers(nodes).values.reduce(0, +)
    var (pushes, tooFast) = (0, 0)
    for (path, fields, taken, status) in Self.dialects(Deployment.key) {
      for _ in 0..<30 {
        let answer = try await push(path, fields, connection)
        pushes += 1
        #expect([taken, status].contains(answer.status), "\(path): \(answer.status)")
        if answer.status == status {
          tooFast += 1
          #expect(answer.field("retry-after") != nil, "\(path)")
          if path.hasPrefix("/api/") { #expect(answer.field("x-sentry-rate-limits") != nil) }
        }
      }
    }
    let counts = try await answers(nodes)
    #expect(counts["too_fast", default: 0] == tooFast && tooFast > 30, "\(counts)")
    #expect(counts.values.reduce(0, +) - before == pushes, "\(counts) for \(pushes) pushes")
  }

  @Test func `503 in that place would multiply what is too much`() async throws {
    let deployment = try await Deployment()
    try await deployment.publish(keys: 10)
    let nodes = try await startNodes(deployment, ["--account-rate", "1", "--account-rate-status", "503"])
    let running = try await Running(.haproxy, before: nodes)
    let connection = try await WireConnection.connected(to: "127.0.0.1:\(running.port)")
    for _ in 0..<15 { _ = try await push("/v1/events", ["X-API-Key: \(Deployment.key(0))"], connection) }
    #expect(try await answers(nodes)["too_fast", default: 0] > 20)
  }

  @Test(arguments: Balancer.allCases)
  func `a payload whose outcome nobody knows is repeated only if it can't become a second row`(balancer: Balancer)
    async throws
  {
    let deployment = try await Deployment(appendOnly: .always)
    try await deployment.publish(keys: 10)
    let nodes = try await startNodes(deployment)
    let running = try await Running(balancer, before: nodes)
    let connection = try await WireConnection.connected(to: "127.0.0.1:\(running.port)")
    let key = "X-API-Key: \(Deployment.key(1))"
    // Redis holds still with what it is sent in its socket, and will find it there.
    try await deployment.redis.pause()
    let once = try await push("/v1/once", [key], connection)
    #expect(once.status == 504 && once.member("reason") == "outcome_unknown", "\(once.status)")
    #expect(once.field("retry-after") != nil)
    #expect(try await answers(nodes)["outcome_unknown"] == 1)
    #expect(try await answers(nodes)["queue_away"] == nil, "it was repeated")
    let keyed = try await push("/v1/keyed", [key, "Idempotency-Key: order-17"], connection)
    #expect(keyed.status == 503, "\(keyed.status)")
    #expect(try await answers(nodes).values.reduce(0, +) > 2, "it was repeated")
    try deployment.redis.resume()
    let worker = try await deployment.startWorker("worker-1")
    try await eventually("all nodes can push again") {
      for node in nodes {
        guard try await node.push(key: Deployment.key(1), path: "/v1/last").status == 202 else { return false }
      }
      return true
    }
    try await eventually("what was pushed last is stored") {
      try deployment.rows().count { $0.path == "/v1/last" } >= 2
    }
    worker.terminate()
    #expect(try await worker.waitForExit() == .exited(0))
    let paths = try deployment.rows().map(\.path)
    #expect(paths.count { $0 == "/v1/once" } == 1)
    #expect(paths.count { $0 == "/v1/keyed" } <= 1)
  }

  @Test func `when no node has another answer HAProxy stops asking all of them`() async throws {
    let deployment = try await Deployment()
    try await deployment.publish(keys: 10)
    let nodes = try await startNodes(deployment, ["--max-queue-entries", "10"])
    let running = try await Running(.haproxy, before: nodes)
    for node in nodes {
      try await eventually("the queue is over its limit, and nobody drains it") {
        try await node.push(key: Deployment.key(1)).member("reason") == "queue_over_limit"
      }
    }
    let before = try await answers(nodes)["queue_over_limit", default: 0]
    let connection = try await WireConnection.connected(to: "127.0.0.1:\(running.port)")
    let pushes = 300
    for _ in 0..<pushes {
      let answer = try await push("/v1/events", ["X-API-Key: \(Deployment.key(1))"], connection)
      #expect(answer.status == 503 && answer.member("reason") == "queue_over_limit")
    }
    // The first twenty or so are asked everywhere; nothing is known before.
    let asked = try await answers(nodes)["queue_over_limit", default: 0] - before
    #expect((pushes...pushes + 100).contains(asked), "\(asked) answers for \(pushes) pushes")
  }
}
