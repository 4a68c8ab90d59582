// One of our programs as a process, as in production. A test starts it, signals it, waits for it, and reads its output.

public import Foundation

/// A running program of ours. Killed with this object, and with the test process.
public final class ServiceProcess: Sendable {
  /// What the program is called.
  public let name: String
  private let process: ChildProcess

  private init(name: String, process: ChildProcess) {
    self.name = name
    self.process = process
  }

  /// Starts a program of this package: from the folder that the environment's `SLUICE_BIN` names, or else the one that
  /// the running tests were built into.
  /// - Parameters:
  ///   - name: The program's name; another program is named by its absolute path.
  ///   - environment: Added to the test process's own.
  public static func start(
    _ name: String, _ arguments: [String] = [], environment: [String: String] = [:]
  ) async throws -> ServiceProcess {
    let path = name.hasPrefix("/") ? name : folder.appendingPathComponent(name).path
    guard FileManager.default.isExecutableFile(atPath: path) else {
      throw CannotStart(description: "no program at \(path): build it first, or set SLUICE_BIN to its folder")
    }
    let all = ProcessInfo.processInfo.environment.merging(environment) { _, given in given }
    return ServiceProcess(name: name, process: try await ChildProcess.start(path, arguments, environment: all))
  }

  /// Where the programs are.
  public static var folder: URL {
    if let given = ProcessInfo.processInfo.environment["SLUICE_BIN"] { return URL(fileURLWithPath: given) }
    return URL(fileURLWithPath: "/proc/self/exe").resolvingSymlinksInPath().deletingLastPathComponent()
  }

  public var pid: pid_t { process.pid }
  /// What it printed on standard output.
  public var standardOutput: CapturedLines { process.standardOutput }
  /// Its standard error, which has its log.
  public var standardError: CapturedLines { process.standardError }
  /// How it ended, or nil while it runs.
  public var status: ExitStatus? { process.status }

  /// Asks it to end in good order (SIGTERM).
  public func terminate() { process.signal(SIGTERM) }
  /// Ends it as a power cut would (SIGKILL).
  public func kill9() { process.signal(SIGKILL) }
  /// Sends any signal.
  public func signal(_ number: Int32) { process.signal(number) }

  /// - Throws: ``NeverHappened`` where it still runs at the deadline.
  public func waitForExit(within limit: Duration = .seconds(20)) async throws -> ExitStatus {
    try await process.waitForExit(within: limit)
  }

  /// Returns once all that it printed has been read, which is a moment after its end.
  public func waitForOutputs(within limit: Duration = .seconds(20)) async throws {
    try await eventually(within: limit, "the output of \(name) is read to the end") {
      standardOutput.isComplete && standardError.isComplete
    }
  }

  /// The first line of either output that contains the text, as soon as there is one.
  /// - Throws: ``NeverHappened`` with all output, at the deadline or as soon as the program has ended without such a line.
  @discardableResult
  public func waitForLine(containing text: String, within limit: Duration = .seconds(20)) async throws -> String {
    var found: String?
    do {
      try await eventually(within: limit, "\(name) prints \"\(text)\"") {
        // Looked at before the lines are, so that what was printed last is surely seen.
        let complete = standardOutput.isComplete && standardError.isComplete
        found = (standardOutput.lines + standardError.lines).first { $0.contains(text) }
        return found != nil || complete
      }
    } catch let error as NeverHappened {
      throw NeverHappened(description: "\(error)\n\(outputs)")
    }
    if let found { return found }
    let status = try await waitForExit(within: .seconds(1))
    throw NeverHappened(description: "\(name) \(status) before it printed \"\(text)\"\n\(outputs)")
  }

  /// Both outputs, for the message of a failed test.
  public var outputs: String {
    "--- \(name), standard output\n\(standardOutput.text)\n--- \(name), standard error\n\(standardError.text)"
  }
}
