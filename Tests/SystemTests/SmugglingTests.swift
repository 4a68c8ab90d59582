// Requests that try to bring a balancer and the node behind it out of step, each followed on another client's connection by honest
// ones. The balancers keep their connection to the node and share it, so whatever a bad request leaves behind on it meets an honest one: an
// answer that isn't its own, a payload that nobody sent, or one with foreign bytes in it. None of them must ever be seen.

import Foundation
import RedisFixture
import Testing

struct SmugglingTests {
  /// How clients reach the node.
  private enum Way: Int, CaseIterable, Sendable {
    case haproxy, lenientHAProxy, nginx, streamingNginx
    /// With nothing in between.
    case alone

    var own: Int { 2 * rawValue }
    var hidden: Int { 2 * rawValue + 1 }
    /// Each honest push has a key and an account of its own.
    func honest(_ number: Int) -> Int { 100 + 500 * rawValue + number }

    var corpus: SmugglingCorpus {
      SmugglingCorpus(SmugglerKeys(own: Deployment.key(own), hidden: Deployment.key(hidden)))
    }
  }

  /// The results for one stream of the corpus on one route.
  private struct Trial: Sendable {
    var way: Way
    var stream: SmugglingCase
    var answers: [WireAnswer]
    /// Where it was sent from: an address of its own, by which the balancer's log knows it.
    var source: String

    var ids: [String] { answers.filter { $0.status == 202 }.compactMap { $0.member("id") } }
  }

  /// An honest payload, as it has to be in the sink.
  private struct Honest: Sendable {
    var id: String
    var row: Deployment.Row
  }

  private static func haproxy(_ node: Node) async throws -> HAProxy {
    try await HAProxy.start { port in
      """
      defaults
        mode http
        log global
        # What it made of each request, by the client's address.
        log-format "%ci %ST %[capture.req.uri]"
        timeout connect 2s
        timeout client 20s
        timeout server 20s
        timeout http-request 20s
        http-reuse always
      frontend strict
        bind 127.0.0.1:\(port)
        default_backend nodes
      frontend lenient
        bind 127.0.0.1:\(port + 1)
        option accept-invalid-http-request
        default_backend lenient-nodes
      backend nodes
        server node \(node.push)
      backend lenient-nodes
        server node \(node.push)
      """
    }
  }

  private static func nginx(_ node: Node) async throws -> Nginx {
    try await Nginx.start { port in
      let servers = [("on", port), ("off", port + 1)].map { buffering, port in
        """
        upstream nodes_\(buffering) { server \(node.push); keepalive 1; }
        server {
          listen 127.0.0.1:\(port);
          client_max_body_size 1g;
          underscores_in_headers \(buffering == "off" ? "on" : "off");
          ignore_invalid_headers \(buffering);
          location / {
            proxy_pass http://nodes_\(buffering);
            proxy_http_version 1.1;
            proxy_set_header Connection "";
            proxy_set_header Host $host;
            proxy_request_buffering \(buffering);
          }
        }
        """
      }
      return """
        log_format own '$remote_addr $status $uri';
        access_log /dev/stdout own;
        keepalive_requests 100000;
        \(servers.joined(separator: "\n"))
        """
    }
  }

  @Test func `no request leaves anything behind for another client`() async throws {
    let deployment = try await Deployment()
    try await deployment.publish(keys: 2_600, accounts: 2_600)
    let node = try await deployment.startNode("node-1", ["--threads", "1"])
    try await node.becomesReady()
    let worker = try await deployment.startWorker("worker-1")
    let (haproxy, nginx) = (try await Self.haproxy(node), try await Self.nginx(node))
    let addresses: [Way: String] = [
      .haproxy: "127.0.0.1:\(haproxy.port)", .lenientHAProxy: "127.0.0.1:\(haproxy.port + 1)",
      .nginx: "127.0.0.1:\(nginx.port)", .streamingNginx: "127.0.0.1:\(nginx.port + 1)", .alone: node.push,
    ]
    let (trials, honest) = try await withThrowingTaskGroup(of: ([Trial], [Honest]).self) { group in
      for (way, address) in addresses {
        group.addTask {
          way == .alone ? (try await Self.goAlone(to: address), []) : try await Self.go(way, to: address)
        }
      }
      return try await group.reduce(into: ([Trial](), [Honest]())) { all, part in
        all.0 += part.0
        all.1 += part.1
      }
    }
    let ids = Set(trials.flatMap(\.ids) + honest.map(\.id))
    try await eventually(within: .seconds(30), "all that was acknowledged is stored") {
      try Set(deployment.rows().map(\.id)).isSuperset(of: ids)
    }
    node.process.terminate()
    #expect(try await node.process.waitForExit() == .exited(0))
    worker.terminate()
    #expect(try await worker.waitForExit() == .exited(0))
    let readings = try await readings(haproxy.log + nginx.log, of: trials)
    try judge(try deployment.rows(), trials, honest, readings)
    // What was shown is shown of shared connections, and of requests that came as far as the node.
    for (backend, way) in [("nodes", Way.haproxy), ("lenient-nodes", .lenientHAProxy)] {
      let statistics = try await haproxy.statistics(of: "BACKEND", in: backend)
      let (made, shared) = (Int(statistics["connect"] ?? "") ?? 0, Int(statistics["reuse"] ?? "") ?? 0)
      #expect(shared > 3 * made, "\(way): \(made) connections were made, and shared \(shared) times")
    }
    for way in Way.allCases where way != .alone {
      let taken = trials.reduce(0) { $0 + ($1.way == way ? $1.ids.count : 0) }
      #expect(taken > 60, "\(way) passed on \(taken) requests of the corpus")
    }
  }

  // MARK: Sending

  /// The node's own reading: all is sent at once, and then the client has ended.
  private static func goAlone(to address: String) async throws -> [Trial] {
    var trials: [Trial] = []
    for stream in Way.alone.corpus.cases {
      let connection = try await WireConnection.connected(to: address)
      connection.send(stream.bytes)
      // After whatever it can't read the node closes by itself, and says so. Else the client has to.
      try await connection.hears(answers: stream.statuses.count, isForHead: stream.isHead, within: .seconds(5))
      let answers = try await connection.answersSoFar(isForHead: stream.isHead)
      if answers.last?.isLast != true { connection.finish() }
      let (ending, rest) = try await connection.ending(within: .seconds(5))
      #expect(ending == .closed && rest.isEmpty, "\(stream.name): \(String(decoding: rest, as: UTF8.self))")
      #expect(answers.map(\.status) == stream.statuses, "\(stream.name): \(answers)")
      for answer in answers where answer.member("error") == "malformed" { #expect(answer.isLast, "\(stream.name)") }
      trials.append(Trial(way: .alone, stream: stream, answers: answers, source: ""))
    }
    return trials
  }

  private static func go(_ way: Way, to address: String) async throws -> ([Trial], [Honest]) {
    var trials: [Trial] = []
    var honest: [Honest] = []
    var client = try await WireConnection.connected(to: address)
    for (index, stream) in way.corpus.cases.enumerated() {
      let source = "127.\(1 + way.rawValue).\(index / 250).\(1 + index % 250)"
      let connection = try await WireConnection.connected(to: address, from: source)
      connection.send(stream.bytes)
      try await connection.hears(
        answers: max(1, stream.statuses.count), isForHead: stream.isHead, within: .milliseconds(150))
      // While it is open, and when it is gone.
      honest.append(try await beHonest(way, honest.count, after: stream, on: &client, at: address))
      let answers = try await connection.answersSoFar(isForHead: stream.isHead)
      trials.append(Trial(way: way, stream: stream, answers: answers, source: source))
      connection.close()
      honest.append(try await beHonest(way, honest.count, after: stream, on: &client, at: address))
    }
    return (trials, honest)
  }

  /// Three requests with three different answers, each of which has to be its own.
  private static func beHonest(
    _ way: Way, _ number: Int, after stream: SmugglingCase, on client: inout WireConnection, at address: String
  ) async throws -> Honest {
    let key = way.honest(number)
    let row = Deployment.Row(
      id: "", account: "account-\(key)", path: "/v1/honest/\(key)", body: Data("honest \(key)".utf8))
    func request(_ path: String, _ key: String) -> String {
      "POST \(path) HTTP/1.1\r\nHost: sluice\r\nX-API-Key: \(key)\r\nContent-Length: \(row.body.count)\r\n\r\n"
        + String(decoding: row.body, as: UTF8.self)
    }
    var answers: [WireAnswer] = []
    for text in [
      request(row.path, Deployment.key(key)), request("/v1/honest", "sk_nobody_\(key)"),
      request("/elsewhere", Deployment.key(key)),
    ] {
      client.send(text)
      answers.append(try await client.answer())
      if answers.last?.isLast == true { client = try await WireConnection.connected(to: address) }
    }
    #expect(answers.map(\.status) == [202, 401, 404], "\(way) after \(stream.name)")
    return Honest(id: answers[0].member("id") ?? "none", row: row)
  }

  // MARK: Judging

  /// One request as a balancer has read it.
  private struct Reading: Sendable, Equatable {
    var status: Int
    var place: String
  }

  /// What the balancers' logs say of each connection, when they say all.
  private func readings(_ log: @autoclosure () -> [String], of trials: [Trial]) async throws -> [String: [Reading]] {
    var readings: [String: [Reading]] = [:]
    try await eventually("the logs are whole") {
      readings = [:]
      for line in log() {
        let words = line.split(separator: " ", maxSplits: 2)
        guard words.count == 3, let status = Int(words[1]) else { continue }
        let place = words[2].split(separator: "/").last.map(String.init) ?? ""
        readings[String(words[0]), default: []].append(Reading(status: status, place: place))
      }
      for trial in trials
      where trial.way != .alone && trial.answers.count > readings[trial.source, default: []].count {
        throw NeverHappened(description: "\(trial.way): \(trial.stream.name)")
      }
      return true
    }
    return readings
  }

  private func judge(
    _ rows: [Deployment.Row], _ trials: [Trial], _ honest: [Honest], _ readings: [String: [Reading]]
  ) throws {
    var left = Dictionary(uniqueKeysWithValues: rows.map { ($0.id, $0) })
    for push in honest {
      guard let row = left.removeValue(forKey: push.id) else {
        Issue.record("\(push.row) was acknowledged and isn't stored")
        continue
      }
      #expect(row.account == push.row.account && row.path == push.row.path && row.body == push.row.body, "\(row)")
    }
    for trial in trials {
      let name: Comment = "\(trial.way): \(trial.stream.name)"
      let payloads = trial.ids.compactMap { left.removeValue(forKey: $0) }.map { payload($0, of: trial) }
      #expect(payloads.count == trial.ids.count, name)
      guard trial.way != .alone else {
        #expect(payloads == trial.stream.taken, name)
        continue
      }
      let fair = Set(trial.stream.taken + trial.stream.fair)
      #expect(Set(payloads).isSubset(of: fair) && Set(payloads).count == payloads.count, name)
      // Each answer is to what the balancer takes for a request, in its order, and what was stored are those of them that were taken.
      let read = readings[trial.source, default: []].prefix(trial.answers.count)
      #expect(read.map(\.status) == trial.answers.map(\.status), name)
      #expect(read.filter { $0.status == 202 }.map(\.place) == payloads.map(\.place), name)
    }
    for row in left.values { Issue.record("nobody was told of \(row)") }
  }

  /// What a row is, after a look at whether it is in the right hands.
  private func payload(_ row: Deployment.Row, of trial: Trial) -> SmugglingCase.Payload {
    let parts = row.path.split(separator: "/").map(String.init)
    let place = parts.last ?? ""
    #expect(parts.count > 2 && parts[1] == trial.stream.code, "\(trial.stream.name): \(row)")
    let account = "account-\(place == "hidden" ? trial.way.hidden : trial.way.own)"
    #expect(row.account == account, "\(trial.stream.name): \(row)")
    return SmugglingCase.Payload(place: place, body: String(decoding: row.body, as: UTF8.self))
  }
}
