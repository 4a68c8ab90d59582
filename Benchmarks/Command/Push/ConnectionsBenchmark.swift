// How the contenders bear many connections: few are answered fast, many share what there is, and each costs memory.

enum ConnectionsBenchmark: Benchmark {
  static let name = "connections"
  static let summary = "accepted pushes a second at 10, 100, 1,000 and 5,000 connections, beside the same peers"

  private static let connections = [10, 100, 1_000, 5_000]

  static func run(rounds: Int) async throws -> Report {
    var setting = PushSetting()
    setting.connections = connections.max()!
    let series = try await PushSeries.measured(
      // Making 5,000 connections takes a part of the time too.
      connections.map {
        PushCase(title: "\($0) connections", connections: $0, seconds: $0 > 1_000 ? 4 : 2, takesAway: true)
      },
      of: PushContender.Kind.allCases, setting, rounds: rounds)
    var report = Report(name: name, rounds: rounds)
    report.versions = try await Peers.versions(ofPackages: PushBenchmark.packages)
    report.tables = series.tables(
      unit: "pushes of 1 KiB", [.perSecond, .server, .redis, .p99, .serverPeak, .redisPeak])
    report.tables[report.tables.count - 1].notes = [
      "nginx has 64 connections to Redis for each of its processes: with one for each client's it answers a quarter less, and p99 is better",
      "the payloads are taken out of Redis ten times a second, for all of them alike",
      "peak: what is in memory, of all processes of the server, what they share counted in each",
    ]
    return report
  }
}
