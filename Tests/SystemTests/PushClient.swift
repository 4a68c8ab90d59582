// A push client of the trade as a process of its own: one of the scripts in Tests/PushClients, in the virtual environment that
// Scripts/clients makes. It pushes until it was answered as its story goes, and prints what it said, what it heard, and what it made of it.

import Foundation
import RedisFixture

/// Who pushes.
enum Agent: String, CaseIterable, Sendable {
  case otlp, honeycomb, sentry, appsignal

  /// What it sends to one path in one encoding each, one request after the other.
  var lanes: [String] {
    switch self {
    case .otlp: ["traces", "metrics", "logs"].flatMap { ["/v1/\($0) plain", "/v1/\($0) gzip"] }
    case .honeycomb: ["/1/batch/compressed gzip", "/1/batch/plain plain"]
    case .sentry: ["/api/41/envelope/ br", "/api/42/envelope/ gzip"]
    case .appsignal: ["/1/log_entries gzip", "/1/markers gzip", Self.probe]
    }
  }

  /// Those of them whose payloads are stored.
  var storingLanes: [String] { lanes.filter { $0 != Self.probe } }

  /// Here AppSignal's agent only asks whether its key is good.
  private static let probe = "/1/auth gzip"
}

/// A running client. Killed with this object, and with the test process.
struct PushClient: Sendable {
  /// One request, and its answer.
  struct Heard: Decodable, Sendable {
    var lane: String
    var status: Int
    var retryAfter: String?
    var contentType: String?
    var answer: Data
    /// The request's body before it was compressed.
    var sent: Data

    var words: String { String(decoding: answer, as: UTF8.self) }
  }

  /// The outcome of a payload, as the client reports it.
  struct Outcome: Decodable, Sendable {
    var lane: String
    /// The texts in the payload that have to be found again.
    var said: [String]
    var outcome: String
  }

  /// A row of the sink, decoded by its format's own means.
  struct Stored: Decodable, Sendable {
    var lane: String
    var account: String
    var contentType: String?
    var undone: String?
    var said: [String]
  }

  private let process: ServiceProcess

  // MARK: Starting

  /// - Parameters:
  ///   - story: Statuses that each lane is to be answered with, in this order; others of them may come in between. The client ends when all
  ///     lanes are so far, and fails when any other status comes.
  ///   - also: Statuses that may come in between as well.
  ///   - lanes: Those that send; nil for all.
  static func start(
    _ agent: Agent, at node: Node, key: String, story: [Int], also: [Int] = [], lanes: [String]? = nil
  ) async throws -> PushClient {
    var words = [
      scripts.appending(path: "\(agent).py").path, "--node", node.push, "--key", key,
      "--story", story.map(String.init).joined(separator: ","),
      "--lanes", (lanes ?? agent.lanes).joined(separator: ","),
    ]
    if !also.isEmpty { words += ["--also", also.map(String.init).joined(separator: ",")] }
    return PushClient(process: try await python(words))
  }

  /// Decodes what is in the sink.
  static func read(_ database: String) async throws -> [Stored] {
    let process = try await python([scripts.appending(path: "read_stored.py").path, database])
    return try await lines(of: ended(process)).map { try JSONDecoder().decode(Stored.self, from: $0) }
  }

  private static let tests = URL(filePath: #filePath).deletingLastPathComponent().deletingLastPathComponent()
  private static let scripts = tests.appending(path: "PushClients")

  private static func python(_ words: [String]) async throws -> ServiceProcess {
    try await ServiceProcess.start(
      try ClientTools.python(with: "PushClients"), words,
      environment: ["PYTHONDONTWRITEBYTECODE": "1", "PYTHONUNBUFFERED": "1"])
  }

  // MARK: What it says

  private struct Line: Decodable {
    var kind: String
    /// Of a report.
    var outcome: String?
  }

  private static func lines(of process: ServiceProcess) -> [Data] {
    process.standardOutput.lines.map { Data($0.utf8) }
  }

  private func lines(_ kind: String) throws -> [Data] {
    // Only the last line may have been read in part; each is one object, without another in it.
    let lines = Self.lines(of: process).filter { $0.last == UInt8(ascii: "}") }
    return try lines.filter { try JSONDecoder().decode(Line.self, from: $0).kind == kind }
  }

  /// All that it heard so far.
  func heard() throws -> [Heard] { try lines("heard").map { try JSONDecoder().decode(Heard.self, from: $0) } }

  func outcomes() throws -> [Outcome] { try lines("outcome").map { try JSONDecoder().decode(Outcome.self, from: $0) } }

  /// The messages that the client logged for its operators.
  func reports() throws -> [String] {
    try lines("report").compactMap { try JSONDecoder().decode(Line.self, from: $0).outcome }
  }

  // MARK: What it comes to

  /// Waits until each of the lanes has been answered this status this number of times.
  func hears(_ status: Int, times: Int = 1, on lanes: [String]) async throws {
    var ended = false
    try await eventually(within: .seconds(30), "each lane hears \(status)") {
      // Looked at first, so that what came last is surely seen.
      ended = process.status != nil && process.standardOutput.isComplete
      let counts = try heard().reduce(into: [String: Int]()) { counts, heard in
        if heard.status == status { counts[heard.lane, default: 0] += 1 }
      }
      if lanes.allSatisfy({ counts[$0, default: 0] >= times }) {
        ended = false
        return true
      }
      return ended
    }
    if ended { throw NeverHappened(description: "it ended before each lane heard \(status)\n\(process.outputs)") }
  }

  /// Waits until it was answered as its story goes.
  /// - Returns: All that it heard.
  func finish() async throws -> [Heard] {
    _ = try await Self.ended(process)
    return try heard()
  }

  @discardableResult
  private static func ended(_ process: ServiceProcess) async throws -> ServiceProcess {
    let status = try await process.waitForExit(within: .seconds(50))
    try await eventually("its output is read to the end") { process.standardOutput.isComplete }
    guard status == .exited(0) else { throw NeverHappened(description: "it \(status)\n\(process.outputs)") }
    return process
  }
}
