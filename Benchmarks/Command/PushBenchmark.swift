// How many pushes of 1 KiB are accepted a second, each of them in a Redis list when its 202 goes out, beside what one would put together
// instead: nginx with Lua (keys in its shared memory, kept connections to Redis), and Webdis (which checks no key). nginx answering 202 to
// anything shows what HTTP alone costs here.
//
// wrk pushes with one thread over kept connections. Servers may use all processors, as they would; what they used is the steadier figure, since
// wrk and Redis share the machine with them.

import Foundation
import Logging
import NIOPosix
import RedisClient
import RedisFixture

enum PushBenchmark: Benchmark {
  static let name = "push"
  static let summary = "accepted pushes a second at 64 and 256 connections, beside nginx with Lua and Webdis"

  private static let connections = [64, 256]
  private static let keys = 10_000

  static func run(rounds: Int) async throws -> Report {
    let folder = try TemporaryFolder()
    let contenders = try await PushContender.all(keys: keys, folder: folder)
    var results = [[PushRound]](repeating: [], count: contenders.count * connections.count)
    for _ in 0..<rounds {
      for (place, contender) in contenders.enumerated() {
        for (which, count) in connections.enumerated() {
          results[place * connections.count + which].append(try await PushRound.measure(contender, connections: count))
        }
      }
    }
    var report = Report(name: name, rounds: rounds)
    report.versions = [
      "nginx": try await Peers.version(ofPackage: "nginx"),
      "libnginx-mod-http-lua": try await Peers.version(ofPackage: "libnginx-mod-http-lua"),
      "webdis": try await Peers.version(ofPackage: "webdis"), "wrk": try await Peers.version(ofPackage: "wrk"),
      "redis": try await Peers.version(ofPackage: "redis-server"),
    ]
    for (which, count) in connections.enumerated() {
      var table = Report.Table(
        "\(count) connections, pushes of 1 KiB", unit: "one LPUSH for each before it is answered")
      for (place, contender) in contenders.enumerated() {
        table.add(contender.name, PushRound.columns(results[place * connections.count + which]))
      }
      report.tables.append(table)
    }
    report.tables[report.tables.count - 1].notes = [
      "µs: of processors, the server's and Redis's; p99: of the answers' times at this load, which is all that wrk can make",
      "\(keys) keys; Webdis checks none, the bare nginx neither checks nor pushes",
      "Redis keeps nothing on disk here, for all of them alike",
    ]
    for contender in contenders { try await contender.stop() }
    folder.remove()
    return report
  }
}

/// What one contender did in one round.
private struct PushRound {
  var spending: Spending
  var p99Milliseconds: Double

  static func columns(_ rounds: [PushRound]) -> [(String, Figure)] {
    [
      ("pushes a second", Figure(rounds.map(\.spending.perSecond))),
      ("server, µs a push", Figure(rounds.map(\.spending.programMicroseconds))),
      ("Redis, µs a push", Figure(rounds.map(\.spending.redisMicroseconds))),
      ("p99, ms", Figure(rounds.map(\.p99Milliseconds))),
    ]
  }

  static func measure(_ contender: PushContender, connections: Int) async throws -> PushRound {
    guard let redis = contender.redis.server.pid else { throw CannotMeasure("Redis has ended") }
    try await contender.empty()
    let before = try ProcessUse.now(program: contender.process.pid, redis: redis)
    let output = try await Peers.run(
      "/usr/bin/wrk",
      ["-t1", "-c\(connections)", "-d4s", "--latency", "-s", "\(Peers.folder)/push.lua", contender.url],
      environment: ["WRK_KEY": contender.key, "WRK_METHOD": contender.method])
    let after = try ProcessUse.now(program: contender.process.pid, redis: redis)
    let report = try WrkReport(output)
    let pushed = try await contender.pushed()
    // Those that wrk cut off at its end may be in the list too; in flight there is one for each connection.
    guard !contender.pushes || (report.requests...report.requests + connections).contains(pushed) else {
      throw CannotMeasure("\(contender.name) accepted \(report.requests) pushes, and \(pushed) are in Redis")
    }
    var spending = try Spending(report.requests, from: before, to: after)
    // By wrk's own clock: starting and ending it takes time too.
    spending.perSecond = report.perSecond
    return PushRound(spending: spending, p99Milliseconds: report.p99Milliseconds)
  }
}

/// What wrk says.
private struct WrkReport {
  var requests: Int
  var perSecond: Double
  var p99Milliseconds: Double

  init(_ text: String) throws {
    let lines = text.split(separator: "\n").map { $0.split(separator: " ") }
    guard !text.contains("Non-2xx"), !text.contains("Socket errors") else {
      throw CannotMeasure("not all was accepted:\n\(text)")
    }
    // "  123456 requests in 4.00s, 12.34MB read", "Requests/sec:  12345.67", "     99%    1.23ms"
    guard let requests = lines.first(where: { $0.count > 1 && $0[1] == "requests" }).flatMap({ Int($0[0]) }),
      let perSecond = lines.first(where: { $0.first == "Requests/sec:" })?.last.flatMap({ Double($0) }),
      let p99 = lines.first(where: { $0.first == "99%" })?.last, let milliseconds = Self.milliseconds(p99)
    else { throw CannotMeasure("what wrk says isn't as expected:\n\(text)") }
    self.requests = requests
    self.perSecond = perSecond
    p99Milliseconds = milliseconds
  }

  private static func milliseconds(_ text: Substring) -> Double? {
    for (unit, factor) in [("us", 0.001), ("ms", 1), ("s", 1_000)] where text.hasSuffix(unit) {
      return Double(text.dropLast(unit.count)).map { $0 * factor }
    }
    return nil
  }
}
