// What it costs to accept only what is in Redis's append-only file, with an fsync each second or before each answer. Each contender's
// Redis is set alike, in a folder on the same disk, and Sluice's node is told to require it, so that it reads what Redis does and accepts
// nothing with less.
//
// With an fsync before each answer, Redis makes one for all that it has read at once. So whoever has more under way when it ends gets more out
// of the next one, and the disk's own speed stands in every figure: ratios are what to read.

import RedisFixture

enum DurabilityBenchmark: Benchmark {
  static let name = "durability"
  static let summary = "accepted pushes a second into Redis's append-only file, everysec and always"

  private static let connections = [64, 256]

  static func run(rounds: Int) async throws -> Report {
    var report = Report(name: name, rounds: rounds)
    report.versions = try await Peers.versions(ofPackages: PushBenchmark.packages)
    for level in [RedisServerOptions.AppendOnly.everysec, .always] {
      var setting = PushSetting()
      setting.appendOnly = level
      let series = try await PushSeries.measured(
        connections.map {
          PushCase(title: "appendfsync \(level.rawValue), \($0) connections", connections: $0, seconds: 3)
        },
        of: [.sluice, .nginxLua, .webdis], setting, rounds: rounds)
      for load in connections.indices {
        report.tables.append(
          series.table(load, unit: "pushes of 1 KiB in the file", [.perSecond, .server, .redis, .p99]))
        report.tables.append(series.ratioTable(load, [.perSecond, .both, .p99]))
      }
    }
    report.tables[report.tables.count - 1].notes = [
      "the file isn't rewritten meanwhile, for all of them alike",
      "Sluice's node has --require-durability of the same level",
    ]
    return report
  }
}
