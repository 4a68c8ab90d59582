// How long a push takes at half of what a server can do, which is where one would run it. wrk finds each one's peak first; then each is
// pushed at half of its own, and all at the same rate: half of the slowest one's peak. The first shows each as its operator would have it
// (who can do more is charged with more), the second what a client sees whose rate doesn't depend on the server.

enum LatencyBenchmark: Benchmark {
  static let name = "latency"
  static let summary = "how long pushes take at half of the peak rate, and at one rate for all, beside the same peers"

  private static let kinds = [PushContender.Kind.sluice, .nginxLua, .webdis]
  private static let connections = 64
  private static let seconds = 4

  /// What one contender did in all rounds.
  private struct Found {
    var peaks: [Double] = []
    var ownHalf: [PacedPush] = []
    var sameRate: [PacedPush] = []
  }

  static func run(rounds: Int) async throws -> Report {
    var found = kinds.map { _ in Found() }
    for round in 0..<rounds {
      try await PushContender.with(kinds, PushSetting()) { contenders in
        let turns = kinds.indices.map { ($0 + round) % kinds.count }
        for turn in turns {
          let peak = try await PushRound.measure(
            contenders[turn], PushCase(title: "the peak", connections: connections, seconds: 3))
          found[turn].peaks.append(peak.perSecond)
        }
        func measure(_ turn: Int, _ perSecond: Double) async throws -> PacedPush {
          try await PacedPush.measure(
            contenders[turn], connections: connections, perSecond: perSecond, seconds: seconds, seed: round + 1)
        }
        for turn in turns { found[turn].ownHalf.append(try await measure(turn, found[turn].peaks[round] / 2)) }
        let slowest = found.map { $0.peaks[round] }.min()!
        for turn in turns { found[turn].sameRate.append(try await measure(turn, slowest / 2)) }
      }
    }
    return try await report(found, rounds: rounds)
  }

  private static func report(_ found: [Found], rounds: Int) async throws -> Report {
    var report = Report(name: name, rounds: rounds)
    report.versions = try await Peers.versions(ofPackages: PushBenchmark.packages)
    var peaks = Report.Table("the peak, \(connections) connections", unit: "wrk")
    for (kind, found) in zip(kinds, found) { peaks.add(kind.name, ("pushes a second", Figure(found.peaks))) }
    report.tables.append(peaks)
    for (title, value) in [("at half of its own peak", \Found.ownHalf), ("all at the same rate", \.sameRate)] {
      var table = Report.Table(title, unit: "\(connections) connections, from when a push was due")
      var ratios = Report.Table("\(title): Sluice", unit: "times the other's")
      let ours = found[0][keyPath: value]
      for (kind, found) in zip(kinds, found) {
        let rounds = found[keyPath: value]
        table.add(kind.name, PacedPush.columns(rounds))
        guard kind != .sluice else { continue }
        ratios.add(
          "to \(kind.name)",
          [("p50", \PacedPush.p50), ("p99", \.p99), ("p99.9", \.p999)].map { name, value in
            (name, Figure(ours.map { $0[keyPath: value] }.ratios(to: rounds.map { $0[keyPath: value] })))
          })
      }
      report.tables += [table, ratios]
    }
    report.tables[report.tables.count - 1].notes = [
      "pushes of 1 KiB come at random moments, the same ones for all in a round; the same rate is half of the slowest one's peak",
      "generator late: the 99th percentile of how long after its moment a push was written, on the same processors as the servers; it is part of the other figures",
    ]
    return report
  }
}
