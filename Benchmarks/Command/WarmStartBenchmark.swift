// How long a node that starts again takes until it is ready, at a million keys that haven't changed: from before its process is
// started until /readyz answers 200, which it does once the restored mirror has been proven equal to the store. Beside it: one
// that has no state file, and reads everything from Redis.

import RedisFixture

enum WarmStartBenchmark: Benchmark {
  static let name = "warm-start"
  static let summary = "a node's process start to ready at a million keys, with a state file and without"

  private static let keyCount = 1_000_000

  static func run(rounds: Int) async throws -> Report {
    let store = try await PublishedStore.make(keys: keyCount)
    let redis = store.redis
    let state = ["--state-dir", store.folder.path("state")]
    // The first start with the folder makes the file.
    _ = try await start(redis, state, restored: false)

    var warm: [Double] = []
    var cold: [Double] = []
    for _ in 0..<rounds {
      warm.append(try await start(redis, state, restored: true))
      cold.append(try await start(redis, [], restored: false))
    }
    var report = Report(name: name, rounds: rounds)
    var table = Report.Table(
      "process start to ready, \(keyCount) keys", unit: "ms",
      notes: [
        "from before the process is made; asked over HTTP again and again, a millisecond after each answer"
      ])
    table.add("with a state file", ("clock", Figure(warm)))
    table.add("without one", ("clock", Figure(cold)))
    report.tables.append(table)
    report.goals.append(Goal("process start to ready with a state file", warm, unit: "ms", atMost: 200))
    try await store.remove()
    return report
  }

  /// Starts a node, and ends it when it is ready.
  /// - Parameter restored: Whether it is to begin with what it knew.
  /// - Returns: The milliseconds that it took.
  private static func start(_ redis: RedisServer, _ arguments: [String], restored: Bool) async throws -> Double {
    let node = try await NodeProcess.start(redis, arguments)
    try await node.stop()
    let log = node.process.standardError.text
    guard restored == log.contains("mirror restored from the state file"),
      restored != log.contains("reading changed buckets")
    else {
      throw CannotMeasure("the node didn't start as it should\n\(node.process.outputs)")
    }
    return Double(node.readyAfter) / 1e6
  }
}

/// What a benchmark is about didn't come about.
struct CannotMeasure: Error, CustomStringConvertible {
  let description: String

  init(_ description: String) { self.description = description }
}
