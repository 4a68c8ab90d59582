// A real PostgreSQL for tests, in a temporary folder, on a TCP port of 127.0.0.1, with a password. It won't run as root, so
// where the tests do, it runs as nobody. Its folder is made by initdb once for all servers of a test process, and copied.

import Foundation
import Synchronization

/// A running PostgreSQL. Killed with this object, and with the test process.
public final class PostgresServer: Sendable {
  private struct State {
    var process: ChildProcess?
    var port = 0
  }

  public let folder: TemporaryFolder
  private let state = Mutex(State())

  public static let user = "sluice"
  public static let password = "p@ss:w/rd"
  public static let database = "postgres"

  private init(folder: TemporaryFolder) { self.folder = folder }

  deinit {
    let (process, folder) = (state.withLock { $0.process }, folder)
    process?.signal(SIGQUIT)
    // It removes files of its own while it ends.
    Thread.detachNewThread {
      while let process, process.status == nil { usleep(10_000) }
      folder.remove()
    }
  }

  /// Starts a server and waits until it answers.
  /// - Parameter settings: Each as it would stand in postgresql.conf.
  public static func start(_ settings: [String] = []) async throws -> PostgresServer {
    let template = try await template.value
    let server = PostgresServer(folder: try TemporaryFolder())
    try await ChildProcess.run("cp", ["--archive", "\(template.path)/.", server.folder.path])
    let lines = ["listen_addresses = '127.0.0.1'", "unix_socket_directories = ''"] + settings
    try Data((lines.joined(separator: "\n") + "\n").utf8).write(to: server.folder.url("data/postgresql.auto.conf"))
    for _ in 1...20 {
      // Below the range that Linux gives to outgoing connections.
      server.state.withLock { $0.port = Int.random(in: 10_000..<32_000) }
      if try await server.launch() { return server }
    }
    throw CannotStart(description: "twenty ports of 127.0.0.1 were all taken")
  }

  public var port: Int { state.withLock { $0.port } }

  /// As an operator would write it, the password percent-encoded.
  public var address: String {
    "postgres://\(Self.user):p%40ss%3Aw%2Frd@127.0.0.1:\(port)/\(Self.database)"
  }

  /// Ends it as a crash would: what isn't in its log is gone.
  public func crash() async throws { try await end(with: SIGQUIT) }

  /// Shuts it down in order, even if clients are connected.
  public func stop() async throws { try await end(with: SIGINT) }

  private func end(with signal: Int32) async throws {
    guard let process = state.withLock({ $0.process }) else { return }
    process.signal(signal)
    _ = try await process.waitForExit(within: .seconds(20))
    state.withLock { $0.process = nil }
  }

  /// Starts it again on the same files and port.
  public func restart() async throws {
    try await eventually(within: .seconds(30), "PostgreSQL gets its port again") { try await launch() }
  }

  /// Runs statements with psql.
  /// - Returns: The rows, their columns with a tab between them.
  @discardableResult
  public func query(_ statements: String) async throws -> [[String]] {
    let output = folder.path("query-\(UInt64.random(in: 0...UInt64.max))")
    let process = try await ask(["-o", output, "-c", statements])
    let status = try await process.waitForExit(within: .seconds(60))
    guard status == .exited(0) else {
      throw CannotStart(description: "psql \(status): \(process.standardError.text)")
    }
    let text = try String(contentsOfFile: output, encoding: .utf8)
    try FileManager.default.removeItem(atPath: output)
    return text.split(separator: "\n").map {
      $0.split(separator: "\t", omittingEmptySubsequences: false).map(String.init)
    }
  }

  private func ask(_ arguments: [String]) async throws -> ChildProcess {
    let environment = ProcessInfo.processInfo.environment.merging(
      ["PGPASSWORD": Self.password, "PGCONNECT_TIMEOUT": "5", "PGOPTIONS": "-c client_min_messages=warning"]
    ) { $1 }
    return try await ChildProcess.start(
      "\(Self.programs)/psql",
      [
        "-h", "127.0.0.1", "-p", "\(port)", "-U", Self.user, "-d", Self.database, "--no-psqlrc", "-v",
        "ON_ERROR_STOP=1",
        "-A", "-t", "-F", "\t",
      ] + arguments, environment: environment)
  }

  /// False where the port was taken.
  private func launch() async throws -> Bool {
    let process = try await Self.run("postgres", ["-D", folder.path("data"), "-p", "\(port)"])
    try await eventually(within: .seconds(30), "PostgreSQL answers") {
      if process.status != nil { return true }
      let question = try await ask(["-c", "SELECT 1"])
      return try await question.waitForExit(within: .seconds(10)) == .exited(0)
    }
    if let status = process.status {
      try await eventually("its output is read to the end") { process.standardError.isComplete }
      let log = process.standardError.text
      if log.contains("Address already in use") || log.contains("is still in use") { return false }
      throw CannotStart(description: "postgres \(status)\n\(log)")
    }
    state.withLock { $0.process = process }
    return true
  }

  // MARK: Programs

  /// Debian keeps them apart by version.
  private static let programs: String = {
    let root = "/usr/lib/postgresql"
    let versions = (try? FileManager.default.contentsOfDirectory(atPath: root)) ?? []
    return "\(root)/\(versions.compactMap(Int.init).max() ?? 15)/bin"
  }()

  private static let nobody = 65_534

  /// As nobody, where the tests run as root.
  private static func run(_ program: String, _ arguments: [String]) async throws -> ChildProcess {
    let path = "\(programs)/\(program)"
    guard FileManager.default.isExecutableFile(atPath: path) else {
      throw CannotStart(description: "no program at \(path): install Debian's postgresql")
    }
    guard getuid() == 0 else { return try await ChildProcess.start(path, arguments) }
    return try await ChildProcess.start(
      "setpriv",
      ["--reuid=\(nobody)", "--regid=\(nobody)", "--clear-groups", "--pdeathsig=KILL", path] + arguments)
  }

  private static let template = Task {
    let folder = try TemporaryFolder()
    try Data(password.utf8).write(to: folder.url("password"))
    if getuid() == 0 {
      for path in [folder.path, folder.path("password")] {
        guard chown(path, uid_t(nobody), gid_t(nobody)) == 0 else {
          throw CannotStart(description: "cannot give \(path) to nobody")
        }
      }
    }
    let process = try await run(
      "initdb",
      [
        "-D", folder.path("data"), "-U", user, "--auth=scram-sha-256", "--pwfile=\(folder.path("password"))", "-E",
        "UTF8",
        "--locale=C", "--no-sync",
      ])
    let status = try await process.waitForExit(within: .seconds(120))
    guard status == .exited(0) else {
      throw CannotStart(description: "initdb \(status): \(process.standardError.text)")
    }
    return folder
  }
}
