// Runs benchmarks by name, which is what `bench` does unless told otherwise; started by Scripts/bench, which builds it and explains its use.
//
// A plain program, not a framework of micro-benchmarks: each of ours compares with peers in the same run, round by round in
// turn, since the machine's mood changes from minute to minute; and most have real servers around them. A further benchmark is
// a type in a file of its own and a line in `all` below.

import ArgumentParser
import Foundation

struct BenchCommand: AsyncParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "compare", abstract: "Measures Sluice beside its peers.",
    discussion: all.map { "\($0.name): \($0.summary)" }.joined(separator: "\n"))

  static let all: [any Benchmark.Type] = [
    SyncBenchmark.self, LargeSyncBenchmark.self, WarmStartBenchmark.self, LookupBenchmark.self, PropagateBenchmark.self,
    ScaleBenchmark.self, WorkerBenchmark.self, PushBenchmark.self, LatencyBenchmark.self,
    DurabilityBenchmark.self, ConnectionsBenchmark.self, BodiesBenchmark.self, RefuseBenchmark.self,
    HandOverBenchmark.self, FairnessBenchmark.self, FollowBenchmark.self,
  ]

  @Argument(help: "Which ones, or \"all\".")
  var names: [String] = []

  @Flag(help: "Prints the names, one a line.")
  var list = false

  @Option(help: "How often everything is measured in turn; medians and ranges are of these. Each has its own default.")
  var rounds: Int?

  @Option(help: "A file for the figures as JSON.")
  var json: String?

  /// At this port, and with so many keys: not a benchmark, but what SyncBenchmark runs as a process of its own.
  @Option(help: .hidden) var mirror: Int?
  @Option(help: .hidden) var keys = 0

  func validate() throws {
    if let rounds, !(1...1000).contains(rounds) {
      throw ValidationError("--rounds needs 1 to 1000, got \(rounds)")
    }
    let known = Self.all.map { $0.name }
    for name in names where name != "all" && !known.contains(name) {
      throw ValidationError("there is no benchmark \(name); there are \(known.joined(separator: ", "))")
    }
    if names.isEmpty, !list, mirror == nil {
      throw ValidationError("which benchmark? There are \(known.joined(separator: ", "))")
    }
  }

  func run() async throws {
    if let mirror { return try await MirrorProcess.run(port: mirror, keys: keys) }
    if list {
      for benchmark in Self.all { print(benchmark.name) }
      return
    }
    var reports: [Report] = []
    for benchmark in Self.all where names.contains(benchmark.name) || names.contains("all") {
      let report = try await benchmark.run(rounds: rounds ?? benchmark.rounds)
      print(report.markdown)
      reports.append(report)
    }
    guard let json else { return }
    let encoder = JSONEncoder()
    encoder.outputFormatting = [.prettyPrinted, .sortedKeys, .withoutEscapingSlashes]
    try encoder.encode(reports).write(to: URL(fileURLWithPath: json))
  }
}

/// Something that can be measured.
protocol Benchmark: SendableMetatype {
  static var name: String { get }
  /// For the list of benchmarks.
  static var summary: String { get }
  /// How often everything is measured where nobody says: fewer where a round takes minutes.
  static var rounds: Int { get }
  /// - Parameter rounds: How often everything is measured, in turn.
  static func run(rounds: Int) async throws -> Report
}

extension Benchmark {
  static var rounds: Int { 7 }
}
