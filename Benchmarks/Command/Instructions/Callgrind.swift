// How many instructions a program carries out, as valgrind counts them: on a processor of its own making, so that it is the same number
// on a busy machine and where there are no hardware counters. What the kernel does for the program isn't in it.

import Foundation
import RedisFixture

/// A program of ours that runs under Callgrind.
struct Callgrind {
  let process: ServiceProcess
  private let folder: TemporaryFolder

  /// - Parameters:
  ///   - program: Its name.
  ///   - counts: Whether it counts from its start on, or only from ``beginCounting()`` on.
  static func start(
    _ program: String, _ arguments: [String], environment: [String: String] = [:], counts: Bool = true
  ) async throws -> Callgrind {
    let folder = try TemporaryFolder()
    let path = folder.path(program)
    // Valgrind reads what there is for debuggers, and ends where it is newer than itself.
    try await Peers.run(
      "/usr/bin/strip", ["--strip-debug", "-o", path, ServiceProcess.folder.appendingPathComponent(program).path])
    let environment = environment.merging([
      // They are seeded at random otherwise, and a dictionary's collisions with them.
      "SWIFT_DETERMINISTIC_HASHING": "1",
      "LD_PRELOAD": ServiceProcess.folder.appendingPathComponent("sigsuspend.so").path,
    ]) { given, _ in given }
    let process = try await ServiceProcess.start(
      "/usr/bin/valgrind",
      [
        "--tool=callgrind", "--callgrind-out-file=/dev/null", "--log-file=\(folder.path("log"))",
        "--vgdb-prefix=\(folder.path("gdb"))", "--instr-atstart=\(counts ? "yes" : "no")", path,
      ] + arguments, environment: environment)
    return Callgrind(process: process, folder: folder)
  }

  /// Counts from now on.
  func beginCounting() async throws {
    try await Peers.run(
      "/usr/bin/vgdb",
      ["--vgdb-prefix=\(folder.path("gdb"))", "--pid=\(process.pid)", "--wait=30", "instrumentation", "on"])
  }

  /// How many it has carried out, all threads together, up to its end, which must be a good one.
  func instructions(within limit: Duration = .seconds(120)) async throws -> Int {
    let status = try await process.waitForExit(within: limit)
    defer { folder.remove() }
    let log = try String(contentsOfFile: folder.path("log"), encoding: .utf8)
    guard status == .exited(0) else { throw CannotMeasure("\(process.name) \(status)\n\(process.outputs)\n\(log)") }
    // "==123== Collected : 4567890"
    let words = log.split(separator: "\n").first { $0.contains("Collected :") }?.split(separator: " ")
    guard let count = words?.last.flatMap({ Int($0) }) else {
      throw CannotMeasure("valgrind doesn't say what it has collected:\n\(log)")
    }
    return count
  }
}
