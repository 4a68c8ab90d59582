// What a benchmark found: tables for people, and the same figures as JSON for whoever compares runs.

import Foundation

/// The figures of one benchmark.
struct Report: Encodable {
  struct Table: Encodable {
    var title: String
    var unit: String
    var rows: [Row] = []
    /// What must be known to read it.
    var notes: [String] = []

    init(_ title: String, unit: String, notes: [String] = []) {
      self.title = title
      self.unit = unit
      self.notes = notes
    }

    mutating func add(_ name: String, _ figures: (String, Figure)...) { add(name, figures) }

    mutating func add(_ name: String, _ figures: [(String, Figure)]) {
      rows.append(Row(name: name, figures: figures.map { .init(name: $0.0, figure: $0.1) }))
    }
  }

  struct Row: Encodable {
    struct Named: Encodable {
      var name: String
      var figure: Figure
    }

    var name: String
    var figures: [Named]
  }

  var name: String
  var machine = Machine.description
  /// Which state of the sources was measured; Scripts/bench says it.
  var commit = ProcessInfo.processInfo.environment["SLUICE_COMMIT"] ?? "unknown"
  /// Of what was measured beside it.
  var versions: [String: String] = [:]
  var rounds: Int
  var tables: [Table] = []
  var goals: [Goal] = []

  init(name: String, rounds: Int) {
    self.name = name
    self.rounds = rounds
  }

  var markdown: String {
    var lines = ["## \(name)", "", "\(machine); \(rounds) rounds: median (lowest–highest); commit \(commit)", ""]
    if !versions.isEmpty {
      lines += [versions.sorted { $0.key < $1.key }.map { "\($0.key) \($0.value)" }.joined(separator: ", "), ""]
    }
    for table in tables {
      let columns = table.rows.first?.figures.map(\.name) ?? []
      lines.append("| \(table.title), \(table.unit) | \(columns.joined(separator: " | ")) |")
      lines.append("|---|" + columns.map { _ in "---:|" }.joined())
      for row in table.rows {
        lines.append("| \(row.name) | \(row.figures.map(\.figure.description).joined(separator: " | ")) |")
      }
      lines.append("")
      lines += table.notes.map { "- \($0)" }
      if !table.notes.isEmpty { lines.append("") }
    }
    lines += Goal.table(goals)
    return lines.joined(separator: "\n")
  }
}

/// One figure of all rounds.
struct Figure: Encodable, CustomStringConvertible {
  var median: Double
  var lowest: Double
  var highest: Double

  init(_ rounds: [Double]) {
    precondition(!rounds.isEmpty, "a figure of no rounds")
    let sorted = rounds.sorted()
    median = sorted.quantile(0.5)
    lowest = sorted[0]
    highest = sorted[sorted.count - 1]
  }

  var description: String {
    lowest == highest ? Self.text(median) : "\(Self.text(median)) (\(Self.text(lowest))–\(Self.text(highest)))"
  }

  private static func text(_ value: Double) -> String {
    if value >= 100 || value == value.rounded() { return "\(Int(value.rounded()))" }
    return "\((value * 100).rounded() / 100)"
  }
}

extension [Double] {
  /// Of sorted values, the one that such a share of them doesn't exceed.
  func quantile(_ share: Double) -> Double {
    self[Swift.min(count - 1, Int((Double(count) * share).rounded(.down)))]
  }
}
