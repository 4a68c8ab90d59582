// Programs of others that are measured beside ours: where they are, how they are started, and which version they have.

import Foundation
import RedisFixture

enum Peers {
  /// Their configurations and jobs. Scripts/bench starts us in the package's folder.
  static let folder = "Benchmarks/Peers"

  /// What makes the load: scripts for wrk, and a generator of our own.
  static let load = "Benchmarks/Load"

  /// Python with what `requirements.txt` names; Scripts/bench makes it.
  static func python() throws -> String {
    guard let python = ProcessInfo.processInfo.environment["SLUICE_PEERS_PYTHON"] else {
      throw CannotMeasure("SLUICE_PEERS_PYTHON isn't set: start this with Scripts/bench")
    }
    return python
  }

  /// Runs a program to its end.
  /// - Returns: What it printed.
  /// - Throws: Unless it ends with status 0.
  @discardableResult
  static func run(
    _ program: String, _ arguments: [String], environment: [String: String] = [:],
    within limit: Duration = .seconds(120)
  ) async throws -> String {
    let process = try await ServiceProcess.start(program, arguments, environment: environment)
    let status = try await process.waitForExit(within: limit)
    try await eventually("all that \(program) printed is there") { process.standardOutput.isComplete }
    guard status == .exited(0) else { throw CannotMeasure("\(program) \(status)\n\(process.outputs)") }
    return process.standardOutput.text
  }

  /// The version of a Debian package.
  static func version(ofPackage name: String) async throws -> String {
    try await run("/usr/bin/dpkg-query", ["--show", "--showformat", "${Version}", name])
  }

  /// The versions of Debian packages, by their names.
  static func versions(ofPackages names: [String]) async throws -> [String: String] {
    var versions: [String: String] = [:]
    for name in names { versions[name] = try await version(ofPackage: name) }
    return versions
  }

  /// A configuration with words between @ put in, in a folder of the benchmark's own.
  static func configure(_ name: String, _ words: [String: String], in folder: TemporaryFolder) throws -> String {
    var text = try String(contentsOfFile: "\(Self.folder)/\(name)", encoding: .utf8)
    for (word, value) in words { text = text.replacing("@\(word)@", with: value) }
    let path = folder.path(name)
    try text.write(toFile: path, atomically: true, encoding: .utf8)
    return path
  }
}
