// How the contenders bear large bodies. From some size on it is bytes that cost, not pushes: how often each is copied, and how much of it is
// held at once.

enum BodiesBenchmark: Benchmark {
  static let name = "bodies"
  static let summary = "accepted pushes and MB a second with bodies of 100 B to 1 MB, beside the same peers"

  private static let sizes = [
    ("100 B", 100), ("1 KB", 1_000), ("10 KB", 10_000), ("100 KB", 100_000), ("1 MB", 1_000_000),
  ]

  static func run(rounds: Int) async throws -> Report {
    var setting = PushSetting()
    setting.bodyBytes = sizes.map(\.1).max()!
    let series = try await PushSeries.measured(
      sizes.map {
        PushCase(title: "bodies of \($0)", connections: 64, bodyBytes: $1, seconds: 2, takesAway: true)
      },
      of: PushContender.Kind.allCases, setting, rounds: rounds)
    var report = Report(name: name, rounds: rounds)
    report.versions = try await Peers.versions(ofPackages: PushBenchmark.packages)
    report.tables = series.tables(
      unit: "64 connections", [.perSecond, .megabytesPerSecond, .server, .redis, .p99, .serverPeak, .redisPeak])
    report.tables[report.tables.count - 1].notes = [
      "the payloads are taken out of Redis ten times a second, for all of them alike",
      "peak: what is in memory, of all processes of the server, what they share counted in each",
    ]
    return report
  }
}
