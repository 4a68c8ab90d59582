// wrk, which pushes as fast as it is answered: one thread, kept connections, one push under way on each.

import Foundation
import RedisFixture

/// A run of wrk.
struct Wrk {
  /// What it says in the end.
  struct Result {
    var requests: Int
    /// By wrk's own clock: starting and ending it takes time too.
    var perSecond: Double
    var p99Milliseconds: Double
    /// Answers that are neither 2xx nor 3xx.
    var refused: Int
  }

  private let process: ServiceProcess
  private let deadline: ContinuousClock.Instant

  /// - Parameters:
  ///   - script: One of those in Benchmarks/Load.
  ///   - environment: What the script asks for.
  static func start(
    _ url: String, connections: Int, seconds: Int, script: String = "push.lua", environment: [String: String]
  ) async throws -> Wrk {
    let process = try await ServiceProcess.start(
      "/usr/bin/wrk",
      [
        "-t1", "-c\(connections)", "-d\(seconds)s", "--timeout", "30s", "--latency", "-s", "\(Peers.load)/\(script)",
        url,
      ], environment: environment)
    return Wrk(process: process, deadline: .now + .seconds(seconds + 60))
  }

  /// Waits until it has ended.
  /// - Parameter meanwhile: Done ten times a second.
  func result(meanwhile: () async throws -> Void = {}) async throws -> Result {
    while process.status == nil {
      guard ContinuousClock.now < deadline else { throw CannotMeasure("wrk doesn't end\n\(process.outputs)") }
      try await meanwhile()
      try await Task.sleep(for: .milliseconds(100))
    }
    try await eventually("all that wrk printed is there") { process.standardOutput.isComplete }
    guard process.status == .exited(0) else { throw CannotMeasure("wrk failed\n\(process.outputs)") }
    return try Result(process.standardOutput.text)
  }
}

extension Wrk.Result {
  init(_ text: String) throws {
    guard !text.contains("Socket errors") else { throw CannotMeasure("not all was answered:\n\(text)") }
    let lines = text.split(separator: "\n").map { $0.split(separator: " ") }
    // "  123456 requests in 4.00s, 12.34MB read", "Requests/sec:  12345.67", "     99%    1.23ms", "  Non-2xx or 3xx responses: 123"
    guard let requests = lines.first(where: { $0.count > 1 && $0[1] == "requests" }).flatMap({ Int($0[0]) }),
      let perSecond = lines.first(where: { $0.first == "Requests/sec:" })?.last.flatMap({ Double($0) }),
      let p99 = lines.first(where: { $0.first == "99%" })?.last, let milliseconds = Self.milliseconds(p99)
    else { throw CannotMeasure("what wrk says isn't as expected:\n\(text)") }
    self.requests = requests
    self.perSecond = perSecond
    p99Milliseconds = milliseconds
    refused = lines.first { $0.first == "Non-2xx" }?.last.flatMap { Int($0) } ?? 0
  }

  private static func milliseconds(_ text: Substring) -> Double? {
    for (unit, factor) in [("us", 0.001), ("ms", 1), ("s", 1_000)] where text.hasSuffix(unit) {
      return Double(text.dropLast(unit.count)).map { $0 * factor }
    }
    return nil
  }
}
