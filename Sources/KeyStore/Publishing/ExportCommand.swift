// The command that prints a list. The publisher runs it itself, because a pipe doesn't tell how the program at its
// other end ended. An export that died after a third of its lines looks like a shorter list. If a store is sealed with
// that list, the keys of the other two thirds are refused.
//
// The command runs by `/bin/sh -c` in a process group of its own, so that all processes that it started end with this
// process, for whatever reason. A signal handler could do that only for some signals. So a second shell in the group
// waits for the end of a pipe that only this process holds open, and then kills the group.
//
// Rejected: Foundation.Process, which doesn't document which signals and files its child inherits.

public import Foundation

/// A running export.
public final class ExportCommand {
  /// The command's standard output.
  public let output: FileHandle
  private let pid: pid_t
  /// Open as long as this process runs.
  private let life: Int32
  private var hasEnded = false

  /// The command couldn't be started.
  public struct CannotStart: Error, Sendable, CustomStringConvertible {
    public let description: String

    init(_ call: String, _ code: Int32) {
      description = "can't run the command: \(call) failed: \(String(cString: strerror(code)))"
    }
  }

  /// The command failed. Its list isn't used, whatever it printed.
  public struct Failed: Error, Sendable, CustomStringConvertible {
    public let description: String
  }

  /// `$1` is the command. The waiting shell doesn't keep the command's output or errors open.
  private static let script = """
    (read -r _; kill -s KILL 0) <&3 >/dev/null 2>&1 & exec 3<&-
    exec /bin/sh -c "$1"
    """

  /// The same script, with a time limit: the command is killed after `$2` seconds.
  private static let boundedScript = script.replacing(
    #"exec /bin/sh"#, with: #"exec timeout --foreground -s KILL "$2" /bin/sh"#)

  /// Starts the command. Its input is empty, and its errors go to this process's standard error.
  /// - Parameter limit: The command is killed after this time; nil if there is no limit.
  public init(_ command: String, within limit: Duration? = nil) throws {
    let output = try Self.pipe()
    let life: (read: Int32, write: Int32)
    do {
      life = try Self.pipe()
    } catch {
      close(output.read)
      close(output.write)
      throw error
    }
    defer {
      close(output.write)
      close(life.read)
    }
    var actions = posix_spawn_file_actions_t()
    posix_spawn_file_actions_init(&actions)
    defer { posix_spawn_file_actions_destroy(&actions) }
    posix_spawn_file_actions_addopen(&actions, STDIN_FILENO, "/dev/null", O_RDONLY, 0)
    posix_spawn_file_actions_adddup2(&actions, output.write, STDOUT_FILENO)
    posix_spawn_file_actions_adddup2(&actions, life.read, 3)

    // All other files are closed: otherwise the export would keep this process's connections open.
    for name in try FileManager.default.contentsOfDirectory(atPath: "/dev/fd") {
      if let descriptor = Int32(name), descriptor > 2 { _ = fcntl(descriptor, F_SETFD, FD_CLOEXEC) }
    }

    // This process ignores some signals, but an export must end when its pipe is broken.
    var attributes = posix_spawnattr_t()
    posix_spawnattr_init(&attributes)
    defer { posix_spawnattr_destroy(&attributes) }
    var signals = sigset_t()
    sigfillset(&signals)
    posix_spawnattr_setsigdefault(&attributes, &signals)
    sigemptyset(&signals)
    posix_spawnattr_setsigmask(&attributes, &signals)
    posix_spawnattr_setpgroup(&attributes, 0)
    posix_spawnattr_setflags(
      &attributes, Int16(POSIX_SPAWN_SETSIGDEF | POSIX_SPAWN_SETSIGMASK | POSIX_SPAWN_SETPGROUP))

    let words: [String] =
      if let limit {
        ["/bin/sh", "-c", Self.boundedScript, "sh", command, "\(max(1, limit.components.seconds))"]
      } else {
        ["/bin/sh", "-c", Self.script, "sh", command]
      }
    var arguments = words.map { strdup($0) } + [nil]
    defer { for argument in arguments { free(argument) } }
    var pid: pid_t = 0
    let failure = posix_spawn(&pid, "/bin/sh", &actions, &attributes, &arguments, environ)
    guard failure == 0 else {
      close(output.read)
      close(life.write)
      throw CannotStart("/bin/sh", failure)
    }
    self.pid = pid
    self.life = life.write
    self.output = FileHandle(fileDescriptor: output.read, closeOnDealloc: false)
  }

  deinit {
    output.closeFile()
    end()
    close(life)
  }

  /// Waits for the command's end. Call it when the output has been read.
  /// - Throws: ``Failed`` unless it exited with 0.
  public func finish() throws {
    let status = end(killing: false)
    let signal = status & 0x7f
    let code = (status >> 8) & 0xff
    if signal != 0 { throw Failed(description: "the command was ended by signal \(signal)") }
    if code != 0 { throw Failed(description: "the command ended with status \(code)") }
  }

  /// Reaps the command, and kills its remaining processes.
  @discardableResult
  private func end(killing: Bool = true) -> Int32 {
    guard !hasEnded else { return 0 }
    hasEnded = true
    if killing { kill(-pid, SIGKILL) }
    // The process ID isn't reused until the command is reaped, and the group has the same ID.
    var info = siginfo_t()
    while waitid(P_PID, id_t(pid), &info, WEXITED | WNOWAIT) != 0, errno == EINTR {}
    kill(-pid, SIGKILL)
    var status: Int32 = 0
    while waitpid(pid, &status, 0) < 0, errno == EINTR {}
    return status
  }

  /// Creates a pipe that other programs don't inherit.
  private static func pipe() throws -> (read: Int32, write: Int32) {
    var ends: [Int32] = [0, 0]
    guard Foundation.pipe(&ends) == 0 else { throw CannotStart("pipe", errno) }
    for end in ends { _ = fcntl(end, F_SETFD, FD_CLOEXEC) }
    return (ends[0], ends[1])
  }
}
