// How long others wait while one account floods: from a payload's receipt by the node to its row in the worker's SQLite file. The worker is made
// slower than the flood (small batches, each with its fsync), so that the queue grows all the time; in one list for everybody, everybody would wait as
// long as the flood does.

import Foundation
import RedisClient
import RedisFixture

enum FairnessBenchmark: Benchmark {
  static let name = "fairness"
  static let summary = "how long other accounts' payloads wait until they are stored while one account floods"

  /// The accounts of these keys push a little; that of key 0 floods.
  private static let quiet = 100..<120
  private static let pushes = 200

  static func run(rounds: Int) async throws -> Report {
    let store = try await PublishedStore.make(keys: 1_000)
    var alone: [Waits] = []
    var others: [Waits] = []
    var flood: [Waits] = []
    for _ in 0..<rounds {
      alone.append(try await measure(store, floods: false).others)
      let both = try await measure(store, floods: true)
      others.append(both.others)
      flood.append(both.flood)
    }
    try await store.remove()
    var report = Report(name: name, rounds: rounds)
    var table = Report.Table(
      "from receipt to the row", unit: "ms",
      notes: [
        "\(quiet.count) accounts push \(pushes) payloads in 6 s; the flood is one key on 32 connections of wrk; the worker has --batch 20 --lanes 1",
        "the flood's own: of what was stored until the others were through; what waited behind it isn't counted",
      ])
    table.add("others, without a flood", Waits.columns(alone))
    table.add("others, under the flood", Waits.columns(others))
    table.add("the flood itself", Waits.columns(flood))
    report.tables.append(table)
    return report
  }

  /// How long payloads waited in one run.
  private struct Waits {
    var p50: Double
    var p99: Double
    var most: Double
    var count: Int

    /// - Parameter sorted: In milliseconds, the shortest first.
    init(_ sorted: [Double]) throws {
      guard let last = sorted.last else { throw CannotMeasure("nothing was stored") }
      (p50, p99, most, count) = (sorted.quantile(0.5), sorted.quantile(0.99), last, sorted.count)
    }

    static func columns(_ rounds: [Waits]) -> [(String, Figure)] {
      [
        ("median", Figure(rounds.map(\.p50))), ("p99", Figure(rounds.map(\.p99))),
        ("longest", Figure(rounds.map(\.most))),
        ("stored", Figure(rounds.map { Double($0.count) })),
      ]
    }
  }

  private static func measure(_ store: PublishedStore, floods: Bool) async throws -> (others: Waits, flood: Waits) {
    let node = try await PushContender.sluice(store, String(decoding: SampleKeys.secret(0), as: UTF8.self))
    try await node.untilAccepting()
    try await node.empty()
    let folder = try TemporaryFolder()
    let worker = try await ServiceProcess.start(
      "ingest-worker",
      [
        "--name", "bench", "--sink", "sqlite:\(folder.path("sink.db"))", "--batch", "20", "--lanes", "1", "--log-level",
        "warning",
      ], environment: ["SLUICE_REDIS": "\(store.redis.tcpEndpoint)"])
    var flood: ServiceProcess?
    if floods {
      flood = try await ServiceProcess.start(
        "/usr/bin/wrk", ["-t1", "-c32", "-d60s", "-s", "\(Peers.load)/push.lua", node.url],
        environment: ["WRK_KEY": node.key])
      // Beyond list 0: from here on accounts have lists of their own.
      try await eventually(within: .seconds(60), "the queue has grown long") { try await node.pushed() > 5_000 }
    }
    let connection = try BlockingSocket(port: node.port)
    for number in 0..<pushes {
      try push(connection, key: quiet.lowerBound + number % quiet.count)
      try await Task.sleep(for: .milliseconds(30))
    }
    let database = folder.path("sink.db")
    let condition = "account IN (\(quiet.map { "'\(SampleKeys.account($0))'" }.joined(separator: ", ")))"
    try await eventually(within: .seconds(120), "the others' payloads are stored") {
      // Looking costs the worker something.
      try await Task.sleep(for: .milliseconds(200))
      return try await waits(database, condition).count == pushes
    }
    flood?.signal(SIGINT)
    _ = try await flood?.waitForExit()
    let others = try Waits(try await waits(database, condition))
    let own = floods ? try Waits(try await waits(database, "account = '\(SampleKeys.account(0))'")) : others
    worker.terminate()
    _ = try await worker.waitForExit(within: .seconds(60))
    node.process.terminate()
    _ = try await node.process.waitForExit(within: .seconds(60))
    try await node.empty()
    node.redis.client.shutDown()
    return (others, own)
  }

  private static func push(_ connection: BlockingSocket, key: Int) throws {
    let body = String(repeating: "x", count: 1_024)
    let key = String(decoding: SampleKeys.secret(key), as: UTF8.self)
    try connection.send(
      Array(
        "POST /v1/events HTTP/1.1\r\nHost: bench\r\nAuthorization: Bearer \(key)\r\nContent-Length: \(body.utf8.count)\r\n\r\n\(body)"
          .utf8))
    let answer = try connection.receive()
    guard answer.starts(with: Array("HTTP/1.1 202".utf8)) else {
      throw CannotMeasure("a push wasn't accepted: \(String(decoding: answer, as: UTF8.self))")
    }
  }

  /// The waits of stored payloads, in milliseconds, the shortest first.
  private static func waits(_ database: String, _ condition: String) async throws -> [Double] {
    let folder = try TemporaryFolder()
    try await Peers.run(
      "/usr/bin/sqlite3",
      [
        "-readonly", database, ".output \(folder.path("waits"))",
        "SELECT stored_at - received_at FROM payloads WHERE \(condition)",
      ])
    let text = try String(contentsOfFile: folder.path("waits"), encoding: .utf8)
    return text.split(separator: "\n").compactMap { Double($0) }.sorted()
  }
}
