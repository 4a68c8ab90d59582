// A node or a worker across its restarts: one name, one set of options, one process after the other.

import Foundation
import RedisFixture
import Synchronization

/// A process of ours that is killed and started again.
final class Member: Sendable {
  let role: Role
  private let command: String
  private let arguments: [String]
  private let environment: [String: String]
  /// The line that it prints when it is ready.
  private let sign: String
  private let log: URL

  private struct State {
    var process: ServiceProcess?
    var isHeld = false
    var isEnding = false
    /// Of lives that are over.
    var reaped = 0
    var lives = 0
  }

  private let state = Mutex(State())

  init(
    _ role: Role, _ command: String, _ arguments: [String], environment: [String: String], sign: String, folder: URL
  ) {
    self.role = role
    self.command = command
    self.arguments = arguments
    self.environment = environment
    self.sign = sign
    log = folder.appending(path: "\(role).log")
  }

  var process: ServiceProcess? { state.withLock { $0.process } }
  var isRunning: Bool { process.map { $0.status == nil } ?? false }
  var lives: Int { state.withLock { $0.lives } }

  /// Starts it and waits until it can be used.
  func start() async throws {
    let process = try await ServiceProcess.start(command, arguments, environment: environment)
    state.withLock { state in
      state.process = process
      state.isHeld = false
      state.isEnding = false
      state.lives += 1
    }
    try await process.waitForLine(containing: sign, within: .seconds(20))
  }

  /// kill -9.
  func kill() async throws {
    guard let process else { return }
    state.withLock { $0.isEnding = true }
    process.kill9()
    _ = try await process.waitForExit()
    bury(process)
  }

  /// SIGSTOP.
  func hold() {
    state.withLock { $0.isHeld = true }
    process?.signal(SIGSTOP)
  }

  /// SIGCONT.
  func release() {
    state.withLock { $0.isHeld = false }
    process?.signal(SIGCONT)
  }

  /// Asks it to end, which must take no longer than this and have the status 0.
  func end(within limit: Duration) async throws {
    guard let process else { return }
    state.withLock { $0.isEnding = true }
    process.terminate()
    let status: ExitStatus
    do {
      status = try await process.waitForExit(within: limit)
    } catch {
      process.kill9()
      _ = try await process.waitForExit()
      bury(process)
      throw Trouble(description: "\(role) didn't end within \(limit.seconds) of SIGTERM")
    }
    bury(process)
    guard status == .exited(0) else { throw Trouble(description: "\(role) \(status) after SIGTERM") }
  }

  /// Lets it go on, and starts it where it doesn't run.
  /// - Parameter mayHaveEnded: Whether it may have ended by itself, with status 1, as a node does that finds less durability than it must have:
  ///   then a supervisor starts it again.
  /// - Throws: Where it ended without being told to.
  func restore(mayHaveEnded: Bool) async throws {
    let (process, isEnding) = state.withLock { ($0.process, $0.isEnding) }
    if let process, process.status == nil { return release() }
    if let process, let status = process.status, !isEnding {
      bury(process)
      if mayHaveEnded, status == .exited(1) { return try await start() }
      throw Trouble(description: "\(role) \(status) by itself")
    }
    try await start()
  }

  /// How many envelopes of dead workers it has put back.
  var reaped: Int { state.withLock { $0.reaped + ($0.process.map(Self.reaped) ?? 0) } }

  private static func reaped(_ process: ServiceProcess) -> Int {
    process.standardError.lines.reduce(0) { sum, line in
      guard line.contains("requeued payloads of workers whose lease expired"),
        let count = line.firstMatch(of: /envelopes=(\d+)/)?.1
      else { return sum }
      return sum + (Int(count) ?? 0)
    }
  }

  private func bury(_ process: ServiceProcess) {
    state.withLock { state in
      guard state.process === process else { return }
      state.reaped += Self.reaped(process)
      state.process = nil
    }
    write(process)
  }

  private func write(_ process: ServiceProcess) {
    let text = "--- life \(lives), pid \(process.pid)\n\(process.standardError.text)\n"
    do {
      if !FileManager.default.fileExists(atPath: log.path) { try Data().write(to: log) }
      let file = try FileHandle(forWritingTo: log)
      defer { file.closeFile() }
      try file.seekToEnd()
      try file.write(contentsOf: Data(text.utf8))
    } catch {
      say("\(log.path) can't be written: \(error)")
    }
  }

  /// Writes what it has logged, and shows the end of it.
  func lastWords(_ count: Int) -> String {
    if let process { write(process) }
    // Refusals are many, and the ledger judges them.
    let lines = ((try? String(contentsOf: log, encoding: .utf8)) ?? "no log").split(separator: "\n")
      .filter { !$0.contains("] refused") && !$0.contains("] more refusals") }
    return "--- \(role), the end of its log\n\(lines.suffix(count).joined(separator: "\n"))"
  }
}
