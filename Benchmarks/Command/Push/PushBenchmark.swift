// How many pushes of 1 KiB are accepted a second, each of them in a Redis list when its 202 goes out, beside what one would put together
// instead: nginx with Lua (keys in its shared memory, kept connections to Redis), and Webdis (which checks no key). nginx answering 202 to
// anything shows what HTTP alone costs here.
//
// By TCP first, as where several nodes share a Redis; then by Redis's Unix socket, as one can on one machine, which helps nginx most.
//
// wrk pushes with one thread over kept connections. Servers may use all processors, as they would; what they used is the steadier figure, since
// wrk and Redis share the machine with them.

import RedisFixture

enum PushBenchmark: Benchmark {
  static let name = "push"
  static let summary = "accepted pushes a second at 64 and 256 connections, beside nginx with Lua and Webdis"

  static let packages = ["nginx", "libnginx-mod-http-lua", "lua-nginx-redis", "webdis", "wrk", "redis-server"]

  private static let connections = [64, 256]

  /// Pushes a second to each other contender's, at least, at each number of connections.
  private static let leastRatios: [(PushContender.Kind, [Double])] = [
    (.nginxLua, [1.8, 2.4]), (.webdis, [1.4, 1.6]), (.bareNginx, [0.8, 0.8]),
  ]

  static func run(rounds: Int) async throws -> Report {
    var report = Report(name: name, rounds: rounds)
    report.versions = try await Peers.versions(ofPackages: packages)
    var setting = PushSetting()
    for isLocal in [false, true] {
      setting.isLocal = isLocal
      let way = isLocal ? "Redis by its Unix socket" : "Redis by TCP"
      let series = try await PushSeries.measured(
        connections.map { PushCase(title: "\($0) connections, \(way)", connections: $0, seconds: 3) },
        // The bare one speaks to no Redis.
        of: PushContender.Kind.allCases.filter { !isLocal || $0 != .bareNginx }, setting, rounds: rounds)
      for (load, count) in connections.enumerated() {
        report.tables.append(
          series.table(
            load, unit: "pushes of 1 KiB, one LPUSH for each before it is answered",
            [.perSecond, .server, .redis, .p99, .serverPeak, .redisPeak]))
        report.tables.append(series.ratioTable(load, [.perSecond, .both, .p99, .serverPeak]))
        report.goals += goals(series, load, "\(count) connections, \(way)")
      }
    }
    report.tables[report.tables.count - 1].notes = [
      "µs: of processors, the server's and Redis's; p99: of the answers' times at this load, which is all that wrk can make",
      "peak: what is in memory, of all processes of the server, what they share counted in each; Redis's is the payloads, which nobody takes away",
      "\(setting.keys) keys; Webdis checks none, the bare nginx neither checks nor pushes",
      "Redis keeps nothing on disk here, for all of them alike",
    ]
    return report
  }

  private static func goals(_ series: PushSeries, _ load: Int, _ title: String) -> [Goal] {
    leastRatios.filter { series.kinds.contains($0.0) }.map { kind, bounds in
      Goal(
        "pushes a second to those of \(kind.name), \(title)", series.ratios(to: kind, load, .perSecond),
        .atLeast(bounds[load]))
    } + [
      Goal(
        "processors of server and Redis to those of \(PushContender.Kind.nginxLua.name), \(title)",
        series.ratios(to: .nginxLua, load, .both), .atMost(0.5))
    ]
  }
}
