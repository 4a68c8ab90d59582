// Measures the time from a commit in the customers' database to a node's answer. A row is inserted, and a client pushes
// until the node accepts the key. Then the row's state is changed, and the client pushes until the node refuses the key
// with a proof. Also measures a follower's comparison of all keys, with an empty store and with an equal one, and the
// memory that it needs.
//
// For comparison, the floor: a commit, NOTIFY, and a plain listener that reads the row, without Redis and without a
// node.

import Foundation
import PostgresClient
import RedisFixture

enum FollowBenchmark: Benchmark {
  static let name = "follow"
  static let summary = "from a commit in PostgreSQL to a node's answer, and comparing a million rows"
  static let rounds = 3

  private static let keys = 1_000_000
  private static let changes = 500
  /// Rows of one transaction.
  private static let batch = 50_000
  private static let columns = [
    "--table", "api_keys", "--key-column", "secret", "--account-column", "account", "--state", "state", "--log-level",
    "info",
  ]

  static func run(rounds: Int) async throws -> Report {
    let postgres = try await PostgresServer.start()
    try await postgres.query(
      """
      CREATE TABLE api_keys (secret text UNIQUE, account text NOT NULL, state text NOT NULL DEFAULT 'active');
      INSERT INTO api_keys SELECT 'sk_' || n, 'account-' || n % 10000 FROM generate_series(1, \(keys)) n;
      ANALYZE api_keys;
      """)
    let source = try connection(to: postgres)
    var first: [Double] = []
    var again: [Double] = []
    var memory: [Double] = []
    var admitted: [[Double]] = []
    var refused: [[Double]] = []
    var floor: [[Double]] = []
    var rates: [Double] = []
    var number = keys
    for round in 0..<rounds {
      let redis = try await RedisServer.start()
      // Each round has a store of its own, and the outbox is tied to the last one's.
      if round > 0 { _ = try source.run("UPDATE sluice_key_changes_store SET store = ''", EndlessPatience()) }
      var follower = try await follow(redis, postgres, round == 0 ? ["--install", "--seal"] : ["--seal"])
      first.append(follower.seconds)
      memory.append(Double(try Machine.peakBytes(ofFamily: follower.process.pid)) / 1_048_576)
      try await end(follower.process)
      follower = try await follow(redis, postgres, [])
      again.append(follower.seconds)
      let node = try await NodeProcess.start(redis)
      let pushes = try BlockingPushes(port: node.port)
      var (puts, ends): ([Double], [Double]) = ([], [])
      for _ in 0..<changes {
        number += 1
        let key = "sk_\(number)"
        puts.append(
          try time(source, "INSERT INTO api_keys VALUES ('\(key)', 'acme')", pushes, key, 202, insteadOf: [401, 503]))
        ends.append(
          try time(
            source, "UPDATE api_keys SET state = 'revoked' WHERE secret = '\(key)'", pushes, key, 403,
            insteadOf: [202, 503]))
      }
      admitted.append(puts)
      refused.append(ends)
      floor.append(try await plainNotifications(postgres, source))
      let rows = "generate_series(\(number + 1), \(number + batch)) n"
      number += batch
      // Changes are carried out in their order, so the last key is accepted when all of them are in the store.
      let milliseconds = try time(
        source, "INSERT INTO api_keys SELECT 'sk_' || n, 'acme' FROM \(rows)", pushes, "sk_\(number)", 202,
        insteadOf: [401, 503], within: 120)
      rates.append(Double(batch) / milliseconds * 1e3)
      try await node.stop()
      try await end(follower.process)
      try await redis.kill9()
    }
    var report = Report(name: name, rounds: rounds)
    var table = Report.Table(
      "from the answer to a commit to a node's answer, \(changes) inserted and \(changes) revoked, one after the other",
      unit: "ms", notes: ["PostgreSQL holds \(keys) keys, in the clear; all programs are on this machine"])
    for (title, rounds) in [
      ("inserted → accepted", admitted), ("revoked → refused with a proof", refused),
      ("the floor: NOTIFY → a listener has read the row", floor),
    ] {
      func figure(_ share: Double) -> Figure { Figure(rounds.map { $0.sorted().quantile(share) }) }
      table.add(title, ("median", figure(0.5)), ("p99", figure(0.99)))
    }
    report.tables.append(table)
    var whole = Report.Table("a follower's comparison of \(keys) rows, its start included", unit: "s")
    whole.add("with an empty store", ("time", Figure(first)), ("memory in MiB", Figure(memory)))
    whole.add("with an equal store", ("time", Figure(again)))
    report.tables.append(whole)
    var rate = Report.Table("\(batch) rows inserted in one transaction, until a node accepts the last", unit: "rows/s")
    rate.add("changes of a transaction", ("rate", Figure(rates)))
    report.tables.append(rate)
    report.goals = [
      Goal("p99 to accepted", admitted.map { $0.sorted().quantile(0.99) }, unit: "ms", atMost: 50),
      Goal("p99 to refused", refused.map { $0.sorted().quantile(0.99) }, unit: "ms", atMost: 50),
      Goal("a comparison where nothing differs", again, unit: "s", atMost: 10),
    ]
    return report
  }

  private static func connection(to postgres: PostgresServer) throws -> PostgresConnection {
    guard let options = PostgresOption.parse(postgres.address) else { throw CannotMeasure("no address") }
    return try PostgresConnection(
      options, connectDeadline: .seconds(10), deadline: .seconds(60), EndlessPatience())
  }

  private static func follow(
    _ redis: RedisServer, _ postgres: PostgresServer, _ arguments: [String]
  ) async throws -> (process: ServiceProcess, seconds: Double) {
    let began = Machine.now()
    let process = try await ServiceProcess.start(
      "key-publisher", ["follow"] + columns + arguments,
      environment: ["SLUICE_REDIS": "\(redis.tcpEndpoint)", "SLUICE_SOURCE": postgres.address])
    try await process.waitForLine(containing: "the store is equal to the source", within: .seconds(300))
    let seconds = Double(Machine.now() - began) / 1e9
    if arguments.contains("--seal") { try await process.waitForLine(containing: "is sealed", within: .seconds(60)) }
    return (process, seconds)
  }

  private static func end(_ process: ServiceProcess) async throws {
    process.terminate()
    let status = try await process.waitForExit()
    guard status == .exited(0) else { throw CannotMeasure("the follower \(status)\n\(process.outputs)") }
  }

  /// Milliseconds from a statement's answer until a push is answered as expected.
  private static func time(
    _ source: PostgresConnection, _ statement: String, _ pushes: BlockingPushes, _ key: String, _ expected: Int,
    insteadOf others: Set<Int>, within seconds: Int64 = 10
  ) throws -> Double {
    _ = try source.run(statement, EndlessPatience())
    let answered = Machine.now()
    while true {
      let status = try pushes.push(key: Array(key.utf8))
      if status == expected { return Double(Machine.now() - answered) / 1e6 }
      guard others.contains(status), Machine.now() - answered < seconds * 1_000_000_000 else {
        throw CannotMeasure("expected \(expected) after \(statement), got \(status)")
      }
    }
  }

  private static func plainNotifications(
    _ postgres: PostgresServer, _ source: PostgresConnection
  ) async throws -> [Double] {
    let listener = try connection(to: postgres)
    let patience = EndlessPatience()
    _ = try source.run("CREATE TABLE IF NOT EXISTS bare (n int)", patience)
    _ = try listener.run("LISTEN bare", patience)
    var times: [Double] = []
    for number in 0..<changes {
      _ = try source.run("WITH row AS (INSERT INTO bare VALUES (\(number))) SELECT pg_notify('bare', '')", patience)
      let answered = Machine.now()
      guard try listener.notification(within: .seconds(5), patience) else { throw CannotMeasure("no notification") }
      _ = try listener.run("SELECT n FROM bare WHERE n = \(number)", patience)
      times.append(Double(Machine.now() - answered) / 1e6)
    }
    _ = try source.run("DROP TABLE bare", patience)
    return times
  }
}
