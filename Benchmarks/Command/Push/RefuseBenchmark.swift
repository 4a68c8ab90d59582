// How many unknown keys are refused a second, beside how many pushes are accepted: somebody who guesses keys must not cost more than a client.
// Each of Sluice's refusals rests on a read of the store that was sent after its request came; all that wait share one, and one is under way at a
// time. So the reads are bounded by how often a trip to Redis fits into a second, not by how many keys are tried, and how many there were is
// read from the node itself and from Redis's count of the command.

import Foundation
import Hiredis
import RedisFixture

enum RefuseBenchmark: Benchmark {
  static let name = "refuse"
  static let summary = "unknown keys refused a second, beside pushes accepted, and nginx with Lua"

  private static let kinds = [PushContender.Kind.sluice, .nginxLua]
  private static let connections = 64

  private enum Keys: CaseIterable {
    case known, oneUnknown, eachAnother

    var title: String {
      switch self {
      case .known: "a known key, accepted"
      case .oneUnknown: "one unknown key, refused"
      case .eachAnother: "each another unknown key, refused"
      }
    }
  }

  private struct Round {
    var perSecond: Double
    var microseconds: Double
    var p99Milliseconds: Double
    /// The node's reads of the store's position, and Redis's count of all HMGET, in a second.
    var barrierReads: Double?
    var redisReads: Double
  }

  static func run(rounds: Int) async throws -> Report {
    var found = kinds.map { _ in Keys.allCases.map { _ in [Round]() } }
    for round in 0..<rounds {
      try await PushContender.with(kinds, PushSetting()) { contenders in
        for (place, keys) in Keys.allCases.enumerated() {
          for turn in kinds.indices.map({ ($0 + round) % kinds.count }) {
            found[turn][place].append(try await measure(contenders[turn], keys, seed: round + 1))
          }
        }
      }
    }
    var report = Report(name: name, rounds: rounds)
    report.versions = try await Peers.versions(ofPackages: PushBenchmark.packages)
    for (kind, found) in zip(kinds, found) {
      var table = Report.Table("\(kind.name), \(connections) connections", unit: "pushes of 1 KiB")
      let accepted = found[0].map(\.perSecond)
      for (keys, rounds) in zip(Keys.allCases, found) {
        table.add(keys.title, columns(rounds, accepted: accepted))
        guard kind == .sluice, keys != .known else { continue }
        report.goals.append(
          Goal("\(keys.title), to those accepted", rounds.map(\.perSecond).ratios(to: accepted), .atLeast(0.7)))
      }
      report.tables.append(table)
    }
    report.tables[report.tables.count - 1].notes = [
      "wrk puts each request together in Lua here, an accepted one too, which makes it slower than where it sends one over and over",
      "all refusals are 401, none is 503: counted by the node itself, or by how nginx is configured",
      "barrier reads: of the store's position for a proof, one under way at a time for a node, and at most one in a millisecond, however many wait; HMGET: all that its Redis was sent, counted by Redis",
    ]
    return report
  }

  private static func columns(_ rounds: [Round], accepted: [Double]) -> [(String, Figure)] {
    let reads = rounds.compactMap(\.barrierReads)
    return [
      ("answers a second", Figure(rounds.map(\.perSecond))),
      ("to those accepted", Figure(rounds.map(\.perSecond).ratios(to: accepted))),
      ("server and Redis, µs", Figure(rounds.map(\.microseconds))), ("p99, ms", Figure(rounds.map(\.p99Milliseconds))),
      ("HMGET a second", Figure(rounds.map(\.redisReads))),
    ] + (reads.isEmpty ? [] : [("barrier reads a second", Figure(reads))])
  }

  private static func measure(_ contender: PushContender, _ keys: Keys, seed: Int) async throws -> Round {
    let (server, redis) = (contender.process.pid, try contender.redisProcess())
    try await contender.empty()
    var environment = ["WRK_SEED": "\(seed)"]
    switch keys {
    case .known: environment["WRK_KEY"] = contender.key
    // As long as the others, and beyond those that were published.
    case .oneUnknown: environment["WRK_KEY"] = String(decoding: SampleKeys.secret(1_000_000_000), as: UTF8.self)
    case .eachAnother: break
    }
    let counted = try await Counted.now(contender)
    let before = try ProcessUse.now(program: server, redis: redis)
    let result = try await Wrk.start(
      contender.url, connections: connections, seconds: 3, script: "keys.lua", environment: environment
    ).result()
    let after = try ProcessUse.now(program: server, redis: redis)
    let difference = try await Counted.now(contender).since(counted)
    guard result.refused == (keys == .known ? 0 : result.requests) else {
      throw CannotMeasure("\(contender.name) refused \(result.refused) of \(result.requests), \(keys.title)")
    }
    // 503 would be an answer as well, and no refusal.
    if keys != .known, let refusals = difference.refusals, refusals < Double(result.requests) {
      throw CannotMeasure("of \(result.requests) answers only \(refusals) were 401, \(keys.title)")
    }
    let spending = try Spending(result.requests, from: before, to: after)
    let seconds = Double(after.at - before.at) / 1e9
    return Round(
      perSecond: result.perSecond, microseconds: spending.programMicroseconds + spending.redisMicroseconds,
      p99Milliseconds: result.p99Milliseconds, barrierReads: difference.barrierReads.map { $0 / seconds },
      redisReads: difference.redisReads / seconds)
  }

  /// What servers count themselves; the node's are its own alone.
  private struct Counted {
    var refusals: Double?
    var barrierReads: Double?
    var redisReads: Double

    static func now(_ contender: PushContender) async throws -> Counted {
      let statistics = try await contender.redis.server.run("INFO", "commandstats").string()
      // cmdstat_hmget:calls=12,usec=34,…
      let calls = statistics.split(whereSeparator: \.isNewline).first { $0.hasPrefix("cmdstat_hmget:calls=") }?
        .dropFirst("cmdstat_hmget:calls=".count).prefix { $0.isNumber }
      var counted = Counted(redisReads: calls.flatMap { Double($0) } ?? 0)
      guard let admin = contender.adminPort else { return counted }
      let metrics = try await Peers.run("/usr/bin/curl", ["--silent", "--fail", "http://127.0.0.1:\(admin)/metrics"])
        .split(separator: "\n")
      func sum(_ name: String, _ label: String) -> Double {
        metrics.filter { $0.hasPrefix(name) && $0.contains(label) }.reduce(0) { sum, line in
          sum + (line.split(separator: " ").last.flatMap { Double($0) } ?? 0)
        }
      }
      counted.refusals = sum("sluice_push_answers_total{", "status=\"401\"")
      counted.barrierReads = sum("sluice_barrier_reads", " ")
      return counted
    }

    func since(_ before: Counted) -> Counted {
      func difference(_ now: Double?, _ then: Double?) -> Double? { now.flatMap { now in then.map { now - $0 } } }
      return Counted(
        refusals: difference(refusals, before.refusals),
        barrierReads: difference(barrierReads, before.barrierReads), redisReads: redisReads - before.redisReads)
    }
  }
}
