// Nothing that operators, log collectors and Prometheus can read contains a secret: no API key, no password of Redis,
// no private key. This holds for every failure and every log level.

import Foundation
import Hiredis
import NIOPosix
import NIOSSL
import RedisClient
import RedisFixture
import Testing

struct SecretsTests {
  private static let password = "pa55:w/rd@redis"
  private static let wrongPassword = "not#the?right%one"
  private static let unknown = "sk_unknown_7f3a9c"

  /// What was written or said somewhere.
  private struct Words {
    var whose: String
    var text: String
  }

  // MARK: What happens

  /// Every place that a key may be in, and every way to get a request with a key in it wrong.
  private static func requests(_ key: String) -> [String] {
    func post(_ path: String, _ fields: String..., body: String = "{}") -> String {
      (["POST \(path) HTTP/1.1", "Host: sluice"] + fields + ["Content-Length: \(body.utf8.count)"])
        .joined(separator: "\r\n") + "\r\n\r\n" + body
    }
    let bearer = "Authorization: Bearer \(key)"
    let dsn = "{\"dsn\":\"https://\(key)@sluice/1\"}\n{\"type\":\"event\"}\n{}"
    return [
      post("/v1/events", bearer), post("/v1/events", "X-API-Key: \(key)"), post("/v1/events?api_key=\(key)"),
      post("/v1/traces", bearer, "Content-Type: application/json"), post("/1/log_entries?api_key=\(key)"),
      post("/1/auth?api_key=\(key)"), post("/1/events/data", "X-Honeycomb-Team: \(key)"),
      post("/1/batch/data", "X-Honeycomb-Team: \(key)", "Content-Type: application/json", body: "[not json"),
      post("/api/1/envelope/", "X-Sentry-Auth: Sentry sentry_version=7, sentry_key=\(key)"),
      post("/api/1/store/?sentry_key=\(key)"), post("/api/1/envelope/", body: dsn),
      // A body that isn't what it says, for the worker.
      post("/v1/events", bearer, "Content-Encoding: gzip", body: "\u{1f}\u{8b} \(key)"),
      // Mistakes.
      post("/nowhere/\(key)?api_key=\(key)", bearer), post("/v1/events", "Authorization: Basic \(key)"),
      "GET /v1/events?api_key=\(key) HTTP/1.1\r\nHost: sluice\r\n\r\n",
      "POST /v1/events?api_key=\(key) HTTP/9.9\r\nHost: sluice\r\n\r\n",
      "\(key) /v1/events\r\n\r\n", "POST /v1/\(key)\u{1} HTTP/1.1\r\n\r\n",
      post("/v1/events", bearer, "Broken \(key)"), post("/v1/events", bearer, "Content-Length: \(key)"),
      post("/v1/events", bearer, "Expect: \(key)"), post("/v1/events", bearer, "Host: \(key)@"),
      "POST /v1/events HTTP/1.1\r\nHost: x\r\n\(bearer)\r\nTransfer-Encoding: chunked\r\n\r\n\(key)\r\n",
      "POST /v1/events HTTP/1.1\r\nHost: x\r\n\(bearer)\r\nContent-Length: 99999999\r\n\r\n\(key)",
    ]
  }

  /// Sends each on a connection of its own, and reads its answer.
  private func send(_ requests: [String], to address: String, tls: NIOSSLContext? = nil) async throws -> Words {
    var answers = ""
    for request in requests {
      let connection = try await WireConnection.connected(to: address, tls: tls)
      connection.send(request)
      let answer = try await connection.answer()
      answers += "\(answer.status) \(answer.fields) \(String(decoding: answer.body, as: UTF8.self))\n"
    }
    return Words(whose: "answers of \(address)", text: answers)
  }

  /// All that the operators' listener answers.
  private func admin(_ node: Node, _ keys: [String]) async throws -> [Words] {
    var words: [Words] = []
    for path in ["/livez", "/readyz", "/status", "/metrics"]
      + keys.flatMap({ ["/\($0)", "/status/?api_key=\($0)", "/metrics?api_key=\($0)"] })
    {
      for method in ["GET", "POST"] {
        let connection = try await WireConnection.connected(to: node.admin)
        connection.send(
          "\(method) \(path) HTTP/1.1\r\nHost: sluice\r\nAuthorization: Bearer \(keys[0])\r\nContent-Length: 0\r\nConnection: close\r\n\r\n"
        )
        words.append(Words(whose: "\(node.name) \(method) \(path)", text: try await connection.everything()))
      }
    }
    return words
  }

  /// All that nodes and workers have reported of themselves.
  private func reports(_ deployment: Deployment) async throws -> Words {
    let connection = try await RedisConnection.connected(
      to: deployment.redis.endpoint, on: MultiThreadedEventLoopGroup.singleton.any())
    defer { connection.close() }
    var text = ""
    let names = try await connection.execute(RedisCommand("KEYS", "sluice:{fleet}:*")).array().map { try $0.string() }
    for name in names {
      let isHash = try await connection.execute(RedisCommand("TYPE", name)) == .status("hash")
      let reply = try await connection.execute(
        isHash ? RedisCommand("HGETALL", name) : RedisCommand("ZRANGE", name, "0", "-1"))
      text += try reply.array().map { try $0.string() }.joined(separator: "\n")
    }
    return Words(whose: "the fleet's reports", text: text)
  }

  // MARK: Tests

  @Test func `no key, password or private key is in any log, answer, metric or report`() async throws {
    let deployment = try await Deployment(password: Self.password)
    try await deployment.publish(keys: 20)
    for (verb, number) in [("revoke", 2), ("suspend", 3)] {
      try await deployment.run("key-publisher", [verb, "--key", Deployment.key(number)])
    }
    let keys = [1, 2, 3].map(Deployment.key) + [Self.unknown]
    let authority = try await CertificateAuthority()
    let (server, client) = (try await authority.issue("server"), try await authority.issue("client"))
    let place = authority.place
    try authority.install(server, in: place)

    let debug = ["--log-level", "debug"]
    let plain = try await deployment.startNode("node-1", debug + ["--trust-proxies", "127.0.0.1"])
    let tls = try await deployment.startNode(
      "node-2",
      debug + [
        "--tls-certificate", place.certificate, "--tls-key", place.key, "--tls-client-authorities",
        authority.own.certificate,
      ])
    let proxied = try await deployment.startNode(
      "node-3", debug + ["--proxy-protocol", "--trust-proxies", "127.0.0.1"])
    let locked = try await deployment.startNode(
      "node-4", debug + ["--redis", deployment.address(password: Self.wrongPassword)])
    let nodes = [plain, tls, proxied, locked]
    for node in nodes.dropLast() { try await node.becomesReady() }
    let worker = try await deployment.startWorker("worker-1", debug)
    let lockedWorker = try await deployment.startWorker(
      "worker-2", debug + ["--redis", deployment.address(password: Self.wrongPassword)])

    let context = try authority.client(showing: client)
    var words: [Words] = []
    for key in keys {
      words.append(try await send(Self.requests(key), to: plain.push))
      words.append(try await send(Array(Self.requests(key).prefix(3)), to: tls.push, tls: context))
      words.append(try await send(Array(Self.requests(key).prefix(3)), to: locked.push))
      // A request where something else is expected: the PROXY protocol, TLS, a client's certificate.
      for node in [proxied, tls] {
        let connection = try await WireConnection.connected(to: node.push)
        connection.send(Self.requests(key)[2])
        words.append(Words(whose: node.name, text: try await connection.everything()))
      }
    }
    // The key's file is replaced by one that doesn't fit, and by one that is cut off.
    try authority.install(CertificateAuthority.Issued(certificate: server.certificate, key: client.key), in: place)
    tls.process.signal(SIGHUP)
    try await tls.process.waitForLine(containing: "reloading the certificate failed")
    try Data(contentsOf: URL(fileURLWithPath: client.key)).dropLast(60).write(to: URL(fileURLWithPath: place.key))
    tls.process.signal(SIGHUP)
    try await eventually("it says so again") {
      tls.process.standardError.lines.filter { $0.contains("reloading the certificate failed") }.count >= 2
    }
    // Redis goes away and comes back, and is full for a while.
    for node in ["node-1", "node-2", "worker-1"] { try await deployment.cutConnections(of: node) }
    try await eventually("it takes pushes again") { try await plain.push(key: keys[0]).status == 202 }
    try await deployment.redis("CONFIG", "SET", "maxmemory", "1")
    try await eventually("Redis takes no more") {
      let answers = try await send(Array(Self.requests(keys[0]).prefix(1)), to: plain.push)
      words.append(answers)
      return answers.text.contains("queue_")
    }
    try await deployment.redis("CONFIG", "SET", "maxmemory", "0")
    try await eventually("it takes pushes again") { try await plain.push(key: keys[0]).status == 202 }
    try await eventually("a payload is stored, and a report is there") {
      let reports = try await reports(deployment)
      return try !deployment.stored().isEmpty && reports.text.contains("node-2")
    }
    for arguments in [["--json"], []] {
      for address in [Self.password, Self.wrongPassword].map(deployment.address(password:)) {
        let status = try await deployment.run("sync-status", arguments + ["--redis", address], expecting: nil)
        words.append(Words(whose: "sync-status \(arguments)", text: status.outputs))
      }
    }
    for (program, arguments) in [
      ("ingest-node", ["--listen", "127.0.0.1:0", "--admin", "127.0.0.1:0"]),
      ("ingest-worker", ["--sink", "sqlite:/nowhere"]),
      ("sync-status", ["--json"]), ("key-publisher", ["verify"]),
    ] {
      // An address that isn't understood is an error that says so, and doesn't repeat it.
      let ended = try await deployment.run(
        program, arguments + ["--redis", "redis://:\(Self.password)@127.0.0.1:port"], expecting: nil)
      #expect(ended.status != .exited(0))
      words.append(Words(whose: "\(program) with a mistyped address", text: ended.outputs))
    }
    words.append(try await reports(deployment))
    for node in nodes { words += try await admin(node, keys) }
    for process in nodes.map(\.process) + [worker, lockedWorker] {
      process.terminate()
      _ = try await process.waitForExit()
      try await process.waitForOutputs()
      words.append(Words(whose: "\(process.name) \(process.pid)", text: process.outputs))
    }

    // It was a busy run: what had to be said was said.
    let all = words.map(\.text).joined(separator: "\n")
    for said in [
      "unknown_key", "revoked_key", "suspended_key", "WRONGPASS", "PROXY protocol header",
      "reloading the certificate failed",
      "\"queue_", " debug ", "\"node-2\"", "sluice_push_answers_total", "not a Redis address",
    ] {
      let isSaid = all.contains(said)
      #expect(isSaid, "nobody said \(said)")
    }

    var secrets = keys + [Self.password, Self.wrongPassword]
    secrets += [Self.password, Self.wrongPassword].map { $0.utf8.map { String(format: "%%%02X", $0) }.joined() }
    for file in [server.key, client.key] {
      let lines = try String(contentsOfFile: file, encoding: .utf8).split(separator: "\n")
      secrets += lines.filter { !$0.contains("-----") }.map(String.init)
    }
    #expect(secrets.count > 10)
    for secret in secrets {
      for one in words where one.text.contains(secret) {
        let line = one.text.split(separator: "\n").first { $0.contains(secret) } ?? ""
        Issue.record("\(secret) is in what \(one.whose) says: \(line)")
      }
    }
  }

  /// No machine has this address, so nothing is exposed. The warning is logged before the node tries to listen.
  @Test func `an operators' listener that isn't on loopback is warned of`() async throws {
    let deployment = try await Deployment()
    let node = try await deployment.run(
      "ingest-node", ["--listen", "127.0.0.1:0", "--admin", "192.0.2.1:0"], expecting: .exited(1))
    #expect(
      node.standardError.lines.contains {
        $0.contains(" warning ") && $0.contains("isn't on loopback") && $0.contains("192.0.2.1")
      })
    let quiet = try await deployment.startNode("node-1")
    #expect(!quiet.process.outputs.contains("isn't on loopback"))
  }
}
