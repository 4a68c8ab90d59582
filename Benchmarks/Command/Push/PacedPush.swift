// Pushes at a given rate; Benchmarks/Load/paced_push.c says why not by wrk or h2load. Scripts/bench compiles it.

import Foundation
import RedisFixture

/// What a run at a given rate came to, in microseconds from when each push was due.
struct PacedPush {
  var perSecond: Double
  var p50: Double
  var p99: Double
  var p999: Double
  /// How late the generator itself was, at its 99th percentile.
  var late: Double

  static func measure(
    _ contender: PushContender, connections: Int, perSecond: Double, seconds: Int, seed: Int
  ) async throws -> PacedPush {
    try await contender.empty()
    let output = try await Peers.run(
      ServiceProcess.folder.appendingPathComponent("paced-push").path,
      [
        "\(contender.port)", contender.method, contender.path, contender.key, "1024", "\(connections)", "\(perSecond)",
        "\(seconds)", "\(seed)",
      ])
    let words = output.split(whereSeparator: \.isWhitespace)
    var figures: [Substring: Double] = [:]
    for place in stride(from: 0, to: words.count - 1, by: 2) { figures[words[place]] = Double(words[place + 1]) }
    guard let sent = figures["sent"], let p50 = figures["p50"], let p99 = figures["p99"], let p999 = figures["p999"],
      let late = figures["late"]
    else { throw CannotMeasure("what paced-push says isn't as expected: \(output)") }
    let pushed = try await contender.pushed()
    guard pushed == Int(sent) else {
      throw CannotMeasure("\(contender.name) accepted \(Int(sent)) pushes, and \(pushed) are in Redis")
    }
    return PacedPush(perSecond: sent / Double(seconds), p50: p50, p99: p99, p999: p999, late: late)
  }

  static func columns(_ rounds: [PacedPush]) -> [(String, Figure)] {
    [
      ("pushes a second", Figure(rounds.map(\.perSecond))), ("p50, µs", Figure(rounds.map(\.p50))),
      ("p99, µs", Figure(rounds.map(\.p99))), ("p99.9, µs", Figure(rounds.map(\.p999))),
      ("generator late, µs", Figure(rounds.map(\.late))),
    ]
  }
}
