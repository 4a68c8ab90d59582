// A program that a test starts, and that can't outlive it.
//
// It is started through `setpriv --pdeathsig KILL`, so the kernel kills it when the test process ends, crashed or not. The
// kernel takes "parent" to be the *thread* that started it, and threads of the concurrency pool come and go: so one thread
// that never ends starts them all. Foundation.Process was rejected because it starts the program from whichever
// thread calls it.

import Foundation
import NIOPosix
import Synchronization

/// How a process ended.
public enum ExitStatus: Sendable, Equatable, CustomStringConvertible {
  case exited(Int32)
  case killed(signal: Int32)

  public var description: String {
    switch self {
    case .exited(let code): "exited with \(code)"
    case .killed(let signal): "was killed by signal \(signal)"
    }
  }
}

/// A program couldn't be started.
public struct CannotStart: Error, CustomStringConvertible {
  public let description: String
}

/// A running program whose output is captured. Killed with this object.
final class ChildProcess: Sendable {
  /// State that the reaping thread shares with the object. It is separate, so that the object can be freed first.
  private final class Life: Sendable {
    let pid: pid_t
    let status = Mutex<ExitStatus?>(nil)

    init(pid: pid_t) { self.pid = pid }

    /// Waits without reaping first, so that nobody can signal a pid that was given to another process meanwhile.
    func reap() {
      var info = siginfo_t()
      while waitid(P_PID, id_t(pid), &info, WEXITED | WNOWAIT) != 0 && errno == EINTR {}
      status.withLock { status in
        var raw: Int32 = 0
        while waitpid(pid, &raw, 0) < 0 && errno == EINTR {}
        let signal = raw & 0x7f
        status = signal == 0 ? .exited((raw >> 8) & 0xff) : .killed(signal: signal)
      }
      ChildProcess.live.withLock { $0[pid] = nil }
    }

    func signal(_ number: Int32) {
      status.withLock { if $0 == nil { _ = kill(pid, number) } }
    }
  }

  let standardOutput = CapturedLines()
  let standardError = CapturedLines()
  private let life: Life

  private init(life: Life) { self.life = life }

  deinit { life.signal(SIGKILL) }

  var pid: pid_t { life.pid }

  /// How it ended, or nil while it runs.
  var status: ExitStatus? { life.status.withLock { $0 } }

  /// Sends a signal, unless the process has ended.
  func signal(_ number: Int32) { life.signal(number) }

  func waitForExit(within limit: Duration) async throws -> ExitStatus {
    try await eventually(within: limit, "process \(pid) ends") { status != nil }
    guard let status else { throw CannotStart(description: "process \(pid) ended and has no status") }
    return status
  }

  /// - Parameters:
  ///   - program: A path, or a name that is looked up in PATH.
  ///   - environment: All of it; nothing is inherited.
  static func start(
    _ program: String, _ arguments: [String], environment: [String: String] = ProcessInfo.processInfo.environment
  ) async throws -> ChildProcess {
    try await starter.runIfActive { try startHere(program, arguments, environment: environment) }
  }

  /// Runs a program to its end.
  /// - Throws: ``CannotStart`` with what it printed, unless it exits with 0.
  static func run(_ program: String, _ arguments: [String], within limit: Duration = .seconds(20)) async throws {
    let process = try await start(program, arguments)
    let status = try await process.waitForExit(within: limit)
    guard status == .exited(0) else {
      throw CannotStart(description: "\(program) \(status): \(process.standardError.text)")
    }
  }

  /// Kills whatever still runs; for the end of the test process.
  static func killAll() {
    for life in live.withLock({ Array($0.values) }) { life.signal(SIGKILL) }
  }

  private static let live = Mutex<[pid_t: Life]>([:])

  /// One thread, never shut down.
  private static let starter: NIOThreadPool = {
    let pool = NIOThreadPool(numberOfThreads: 1)
    pool.start()
    return pool
  }()

  private static func startHere(
    _ program: String, _ arguments: [String], environment: [String: String]
  ) throws -> ChildProcess {
    let output = try makePipe()
    let errors = try makePipe()

    var actions = posix_spawn_file_actions_t()
    posix_spawn_file_actions_init(&actions)
    defer { posix_spawn_file_actions_destroy(&actions) }
    posix_spawn_file_actions_addopen(&actions, STDIN_FILENO, "/dev/null", O_RDONLY, 0)
    posix_spawn_file_actions_adddup2(&actions, output.write, STDOUT_FILENO)
    posix_spawn_file_actions_adddup2(&actions, errors.write, STDERR_FILENO)
    // Nothing else of ours: a connection that we close would stay open in there, and its other end would never hear of it.
    try closeFrom(3, in: &actions)

    // The test process ignores some signals; the program must begin with none ignored or blocked.
    var attributes = posix_spawnattr_t()
    posix_spawnattr_init(&attributes)
    defer { posix_spawnattr_destroy(&attributes) }
    var signals = sigset_t()
    sigfillset(&signals)
    posix_spawnattr_setsigdefault(&attributes, &signals)
    sigemptyset(&signals)
    posix_spawnattr_setsigmask(&attributes, &signals)
    posix_spawnattr_setflags(&attributes, Int16(POSIX_SPAWN_SETSIGDEF | POSIX_SPAWN_SETSIGMASK))

    let words = ["setpriv", "--pdeathsig", "KILL", "--", program] + arguments
    var argv = words.map { strdup($0) } + [nil]
    var envp = environment.map { strdup("\($0.key)=\($0.value)") } + [nil]
    defer { for pointer in argv + envp { free(pointer) } }
    var pid: pid_t = 0
    let failed = posix_spawnp(&pid, "setpriv", &actions, &attributes, &argv, &envp)
    close(output.write)
    close(errors.write)
    guard failed == 0 else {
      close(output.read)
      close(errors.read)
      throw CannotStart(description: "cannot start setpriv for \(program): \(String(cString: strerror(failed)))")
    }

    let life = Life(pid: pid)
    live.withLock { $0[pid] = life }
    let process = ChildProcess(life: life)
    drain(output.read, into: process.standardOutput)
    drain(errors.read, into: process.standardError)
    Thread.detachNewThread { life.reap() }
    return process
  }

  /// glibc's `posix_spawn_file_actions_addclosefrom_np`, which its headers hide from Swift.
  private static func closeFrom(_ first: Int32, in actions: inout posix_spawn_file_actions_t) throws {
    typealias Function = @convention(c) (UnsafeMutablePointer<posix_spawn_file_actions_t>, Int32) -> Int32
    guard let symbol = dlsym(nil, "posix_spawn_file_actions_addclosefrom_np") else {
      throw CannotStart(description: "this C library can't close a child's files: glibc 2.34 or later is needed")
    }
    guard unsafeBitCast(symbol, to: Function.self)(&actions, first) == 0 else {
      throw CannotStart(description: "a child's files can't be closed: \(String(cString: strerror(errno)))")
    }
  }

  private static func makePipe() throws -> (read: Int32, write: Int32) {
    var ends: [Int32] = [0, 0]
    guard pipe(&ends) == 0 else {
      throw CannotStart(description: "cannot make a pipe: \(String(cString: strerror(errno)))")
    }
    // Not inherited by other programs: they would hold the pipe open. All programs start on this thread, so none can
    // come in between.
    for end in ends { _ = fcntl(end, F_SETFD, FD_CLOEXEC) }
    return (ends[0], ends[1])
  }

  /// Reads until the other end is closed, so that the program never blocks on a full pipe.
  private static func drain(_ descriptor: Int32, into lines: CapturedLines) {
    Thread.detachNewThread {
      var buffer = [UInt8](repeating: 0, count: 1 << 16)
      while true {
        let count = read(descriptor, &buffer, buffer.count)
        if count < 0 && errno == EINTR { continue }
        if count <= 0 { break }
        lines.append(buffer.prefix(count))
      }
      close(descriptor)
      lines.end()
    }
  }
}
