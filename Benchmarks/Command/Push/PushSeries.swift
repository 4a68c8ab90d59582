// All contenders under all loads, round by round. In each round they are started anew, so that none carries along what an earlier load left
// in its memory; under each load they take their turns directly after one another, and who comes first changes from round to
// round. So the ratio of two of them within a round is of figures that were measured seconds apart.

import Foundation

struct PushSeries {
  let loads: [PushCase]
  let kinds: [PushContender.Kind]
  /// Of each load, of each contender, the rounds.
  private var results: [[[PushRound]]]

  static func measured(
    _ loads: [PushCase], of kinds: [PushContender.Kind], _ setting: PushSetting, rounds: Int
  ) async throws -> PushSeries {
    var series = PushSeries(
      loads: loads, kinds: kinds, results: loads.map { _ in kinds.map { _ in [] } })
    for round in 0..<rounds {
      try await PushContender.with(kinds, setting) { contenders in
        for (place, load) in loads.enumerated() {
          for turn in kinds.indices {
            let which = (turn + round) % kinds.count
            series.results[place][which].append(try await PushRound.measure(contenders[which], load))
          }
        }
      }
    }
    return series
  }

  func values(_ kind: PushContender.Kind, _ load: Int, _ column: PushRound.Column) -> [Double] {
    guard let place = kinds.firstIndex(of: kind) else { preconditionFailure("\(kind.name) wasn't measured") }
    return results[load][place].map(column.value)
  }

  /// Sluice's to another's, round by round.
  func ratios(to kind: PushContender.Kind, _ load: Int, _ column: PushRound.Column) -> [Double] {
    values(.sluice, load, column).ratios(to: values(kind, load, column))
  }

  /// For each load what was measured, and how Sluice's figures stand to the others'.
  func tables(unit: String, _ columns: [PushRound.Column]) -> [Report.Table] {
    loads.indices.flatMap { load in
      [table(load, unit: unit, columns), ratioTable(load, [.perSecond, .both, .p99, .serverPeak])]
    }
  }

  func table(_ load: Int, unit: String, _ columns: [PushRound.Column]) -> Report.Table {
    var table = Report.Table(loads[load].title, unit: unit)
    for kind in kinds {
      table.add(kind.name, columns.map { ($0.name, Figure(values(kind, load, $0))) })
    }
    return table
  }

  /// How Sluice's figures stand to each other contender's.
  func ratioTable(_ load: Int, _ columns: [PushRound.Column]) -> Report.Table {
    var table = Report.Table("\(loads[load].title): Sluice", unit: "times the other's")
    for kind in kinds where kind != .sluice {
      table.add("to \(kind.name)", columns.map { ($0.name, Figure(ratios(to: kind, load, $0))) })
    }
    return table
  }
}

extension PushContender {
  static let warmUpConnections = 16

  /// A second of pushes that don't count: compiled Lua, connections to Redis, and memory are there afterwards.
  func warmUp() async throws {
    let wrk = try await Wrk.start(
      url, connections: Self.warmUpConnections, seconds: 1, environment: ["WRK_KEY": key, "WRK_METHOD": method])
    _ = try await wrk.result()
    try await empty()
  }
}
