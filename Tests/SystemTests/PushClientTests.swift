// Real push clients against the real node, worker and Redis: what they send is stored as they meant it, and whatever happens to the key
// store, none of them ever hears an answer that ends it or makes it drop its data for good.
//
// Where a payload was handed over and no answer came, balancers mustn't repeat it, and 503 would have them do so:
// each client hears another status then, on which it does what it does on 503.
//
// How the clients take a 503 differs. OpenTelemetry's exporters wait as Retry-After says and send the same again; so does libhoney, once;
// Sentry's SDK drops that payload and is silent for as long as it is asked to; AppSignal's agent keeps it for its next turn.

import Foundation
import RedisFixture
import Testing

struct PushClientTests {
  /// What befalls Redis.
  enum Outage: Sendable {
    /// As by a power cut.
    case killed
    /// It takes connections and bytes, and answers nothing.
    case frozen
  }

  @Test(arguments: Agent.allCases)
  func `a client's payloads are stored as it meant them, and a key that nobody has is refused with a proof`(
    agent: Agent
  ) async throws {
    let deployment = try await Deployment()
    try await deployment.publish(keys: 10)
    let node = try await deployment.startNode("node-1")
    try await node.becomesReady()
    let worker = try await deployment.startWorker("worker-1")
    let began = Date()
    let stranger = try await PushClient.start(agent, at: node, key: "sk_nobody", story: [401])
    let client = try await PushClient.start(agent, at: node, key: Deployment.key(1), story: [200, 200, 200])

    let refused = try await stranger.finish()
    #expect(Set(refused.map(\.lane)) == Set(agent.lanes))
    for answer in refused { try expectProof(in: answer, from: agent, readAfter: began) }
    try expectReported(401, by: stranger, agent)

    let heard = try await client.finish()
    #expect(Set(heard.map(\.lane)) == Set(agent.lanes))
    #expect(Set(heard.map(\.status)) == [200], "AppSignal's agent sends again what is answered 202")
    for answer in heard { try expectTaken(answer, from: agent) }
    let outcomes = try client.outcomes()
    #expect(Set(outcomes.map(\.outcome)) == [agent.success])

    // Nothing of the stranger's is among it.
    try await expectStored(acknowledged(heard, agent), deployment)
    worker.terminate()
    #expect(try await worker.waitForExit() == .exited(0))
    try await expectStored(acknowledged(heard, agent), deployment)
    let rows = try await PushClient.read(deployment.database)
    for lane in agent.storingLanes {
      let said = outcomes.filter { $0.lane == lane }.flatMap(\.said)
      #expect(!said.isEmpty)
      #expect(rows.filter { $0.lane == lane }.flatMap(\.said).sorted() == said.sorted(), "\(lane)")
    }
    for row in rows {
      #expect(row.account == "account-1")
      #expect(row.contentType == agent.contentType)
      #expect(row.undone == agent.undone(on: row.lane), "\(row.lane)")
    }
  }

  @Test(arguments: Agent.allCases)
  func `before the store is sealed a client hears 503, whoever it is, and once it is sealed it is taken or refused`(
    agent: Agent
  ) async throws {
    let deployment = try await Deployment()
    let node = try await deployment.startNode("node-1")
    try await deployment.run("key-publisher", ["put", "--account", "acme", "--key", Deployment.key(99)])
    try await eventually("the store is seen, and isn't sealed") {
      try await node.push(key: "sk_nobody").member("reason") == "unsealed"
    }
    let worker = try await deployment.startWorker("worker-1")
    let client = try await PushClient.start(agent, at: node, key: Deployment.key(1), story: [503, 200])
    let stranger = try await PushClient.start(agent, at: node, key: "sk_nobody", story: [503, 401])
    try await client.hears(503, on: agent.lanes)
    try await stranger.hears(503, on: agent.lanes)
    let sealing = Date()
    try await deployment.publish(keys: 10)

    let heard = try await client.finish()
    #expect(Set(heard.map(\.status)) == [503, 200])
    try expectWaits(in: heard, reasons: ["unsealed"])
    if agent.retries {
      // Every payload that was answered 503 was accepted later, and none was lost.
      let taken = Set(heard.filter { $0.status == 200 }.map(\.sent))
      for answer in heard where answer.status == 503 { #expect(taken.contains(answer.sent), "\(answer.lane)") }
      if agent == .otlp { #expect(Set(try client.outcomes().map(\.outcome)) == [agent.success]) }
    }

    let refused = try await stranger.finish()
    #expect(Set(refused.map(\.status)) == [503, 401])
    try expectWaits(in: refused, reasons: ["unsealed"])
    for answer in refused where answer.status == 401 { try expectProof(in: answer, from: agent, readAfter: sealing) }

    try await expectStored(acknowledged(heard, agent), deployment)
    worker.terminate()
    #expect(try await worker.waitForExit() == .exited(0))
    try await expectStored(acknowledged(heard, agent), deployment)
  }

  @Test(arguments: Agent.allCases.map { ($0, Outage.killed) } + [(.appsignal, .frozen)])
  func
    `a client that pushes while Redis goes away hears 503 and nothing worse, and all that was acknowledged is stored`(
      agent: Agent, outage: Outage
    ) async throws
  {
    let deployment = try await Deployment(appendOnly: .always)
    try await deployment.publish(keys: 10)
    let node = try await deployment.startNode("node-1")
    try await node.becomesReady()
    let worker = try await deployment.startWorker("worker-1")
    let lanes = agent.storingLanes
    let unknown = agent.outcomeUnknown
    let client = try await PushClient.start(
      agent, at: node, key: Deployment.key(1), story: [200, 200, 503, 200, 200], also: [unknown], lanes: lanes)
    try await client.hears(200, times: 2, on: lanes)
    switch outage {
    case .killed: try await deployment.redis.kill9()
    case .frozen: try await deployment.redis.pause()
    }
    try await client.hears(503, on: lanes)
    switch outage {
    case .killed: try await deployment.redis.restart()
    case .frozen: try deployment.redis.resume()
    }

    let heard = try await client.finish()
    #expect(Set(heard.map(\.lane)) == Set(lanes))
    #expect(Set(heard.map(\.status)).subtracting([unknown]) == [200, 503])
    try expectWaits(in: heard, reasons: ["queue_away", "queue_refused"])
    for answer in heard where answer.status == unknown {
      #expect(answer.words.contains("outcome_unknown") && answer.retryAfter != nil, "\(answer.lane): \(answer.words)")
    }
    let acknowledged = acknowledged(heard, agent)
    let sent = counts(heard)
    func check() throws {
      let stored = counts(try deployment.stored().map(\.body))
      for (body, times) in stored {
        // If the outcome was unknown, a retry may store the payload a second time.
        #expect(times <= sent[body, default: 0], "what was stored was sent, and as often")
      }
    }
    try await eventually(within: .seconds(30), "all that was acknowledged is stored") {
      let stored = counts(try deployment.stored().map(\.body))
      return acknowledged.allSatisfy { stored[$0.key, default: 0] >= $0.value }
    }
    worker.terminate()
    #expect(try await worker.waitForExit() == .exited(0))
    try check()
  }

  // MARK: What is expected

  private func counts(_ heard: [PushClient.Heard]) -> [Data: Int] { counts(heard.map(\.sent)) }

  private func counts(_ bodies: [Data]) -> [Data: Int] { bodies.reduce(into: [:]) { $0[$1, default: 0] += 1 } }

  /// The bodies that were said to be taken, and how often each.
  private func acknowledged(_ heard: [PushClient.Heard], _ agent: Agent) -> [Data: Int] {
    counts(heard.filter { $0.status == 200 && agent.storingLanes.contains($0.lane) })
  }

  /// Exactly these bodies are in the sink.
  private func expectStored(_ bodies: [Data: Int], _ deployment: Deployment) async throws {
    let count = bodies.values.reduce(0, +)
    try await eventually(within: .seconds(30), "all \(count) are stored") { try deployment.stored().count >= count }
    #expect(counts(try deployment.stored().map(\.body)) == bodies)
  }

  /// Each 503 says when to come back, and why; there is nothing else but what the test has looked at.
  private func expectWaits(in heard: [PushClient.Heard], reasons: [String]) throws {
    for answer in heard where answer.status == 503 {
      let seconds = try #require(answer.retryAfter.flatMap(Int.init), "\(answer.lane): \(answer.words)")
      #expect((1...5).contains(seconds))
      #expect(reasons.contains { answer.words.contains($0) }, "\(answer.lane): \(answer.words)")
    }
  }

  /// It is answered with the words that its client understands.
  private func expectTaken(_ answer: PushClient.Heard, from agent: Agent) throws {
    switch agent {
    case .otlp:
      // An empty message of the kind that was asked for.
      #expect(answer.contentType == "application/x-protobuf")
      #expect(answer.answer.isEmpty)
    case .honeycomb:
      let events = try #require(try JSONSerialization.jsonObject(with: answer.sent) as? [Any])
      let statuses = try JSONDecoder().decode([[String: Int]].self, from: answer.answer)
      #expect(events.count == 3)
      #expect(statuses == Array(repeating: ["status": 202], count: events.count))
    case .sentry, .appsignal: #expect(answer.contentType == "application/json")
    }
  }

  /// It names what proves it, which was read after the client had begun.
  private func expectProof(in answer: PushClient.Heard, from agent: Agent, readAfter began: Date) throws {
    #expect(answer.status == 401)
    #expect(answer.words.contains("unknown_key"))
    let proof = try #require(
      answer.words.firstMatch(of: agent.proof), "\(answer.lane) has no proof in \(answer.words)")
    let read = try Date(String(proof.1), strategy: Date.ISO8601FormatStyle(includingFractionalSeconds: true))
    #expect(read >= began, "\(answer.lane)")
    if agent == .otlp {
      // A google.rpc.Status, whose code is UNAUTHENTICATED.
      #expect(answer.contentType == "application/x-protobuf")
      #expect(answer.answer.starts(with: [0x08, 16, 0x12]))
    }
  }

  /// The client has understood it, and its log says so.
  private func expectReported(_ status: Int, by client: PushClient, _ agent: Agent) throws {
    let outcomes = try client.outcomes()
    let reports = try client.reports()
    switch agent {
    case .otlp:
      #expect(Set(outcomes.map(\.outcome)) == ["FAILURE"])
      for kind in ["spans", "metrics", "logs"] {
        #expect(reports.contains { $0.contains("Failed to export \(kind) batch code: \(status)") }, "\(reports)")
      }
    case .honeycomb:
      #expect(outcomes.count == 6)
      for event in outcomes { #expect(event.outcome.hasPrefix("\(status) \(status) Client Error")) }
    case .sentry:
      #expect(outcomes.contains { $0.outcome == "status_\(status)" })
      #expect(reports.contains { $0.contains("Unexpected status code: \(status)") && $0.contains("unknown_key") })
    case .appsignal: #expect(Set(outcomes.map(\.outcome)) == ["\(status)"])
    }
  }
}

extension Agent {
  /// What it says of a payload that was taken. Sentry's SDK says only that it has it, and nothing more if all goes well.
  fileprivate var success: String {
    switch self {
    case .otlp: "SUCCESS"
    case .honeycomb: "202"
    case .sentry: "captured"
    case .appsignal: "200"
    }
  }

  /// The answer that the client gets if it is unknown whether Redis has its payload.
  fileprivate var outcomeUnknown: Int {
    switch self {
    case .otlp, .sentry: 504
    case .honeycomb: 429
    case .appsignal: 500
    }
  }

  /// Whether it sends again what was answered 503, and for as long as this test keeps it waiting.
  fileprivate var retries: Bool { self == .otlp || self == .appsignal }

  fileprivate var contentType: String {
    switch self {
    case .otlp: "application/x-protobuf"
    case .honeycomb: "application/json"
    case .sentry: "application/x-sentry-envelope"
    case .appsignal: "application/json; charset=UTF-8"
    }
  }

  fileprivate func undone(on lane: String) -> String? {
    // As it is labelled, but for AppSignal's agent.
    let label = String(lane.split(separator: " ")[1])
    return label == "plain" ? nil : self == .appsignal ? "zlib" : label
  }

  /// When a proof was read, in what a refusal says of it.
  fileprivate var proof: Regex<(Substring, Substring)> {
    switch self {
    case .otlp, .sentry: /proven at version \d+ of the key store \(epoch [0-9a-f]{32}\), read at (\d{4}-[-0-9T:.]+Z)/
    case .honeycomb, .appsignal:
      /"proof":\{"epoch":"[0-9a-f]{32}","version":\d+,"as_of":"(\d{4}-[-0-9T:.]+Z)"\}/
    }
  }
}
