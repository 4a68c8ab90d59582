// The command that prints a list. It is run by us and not piped into us for one reason: a pipe doesn't say how its other
// end ended. An export that died after a third of its lines looks like a shorter list, and a store that is sealed with
// that refuses the other two thirds.
//
// It runs by `/bin/sh -c` in a process group of its own, so that all that it started ends with us, however we end. A
// signal handler could do that only for some signals; so a second shell in the group waits for the end of a pipe that
// only this process holds open, and then kills the group.
//
// Rejected: Foundation.Process, which doesn't say which signals and files its child inherits.

public import Foundation

/// A running export.
public final class ExportCommand {
  /// What it prints.
  public let output: FileHandle
  private let pid: pid_t
  /// Open for as long as we live.
  private let life: Int32
  private var hasEnded = false

  /// It couldn't be started.
  public struct CannotStart: Error, Sendable, CustomStringConvertible {
    public let description: String

    init(_ call: String, _ code: Int32) {
      description = "can't run the command: \(call) failed: \(String(cString: strerror(code)))"
    }
  }

  /// It failed; its list isn't taken, whatever it printed.
  public struct Failed: Error, Sendable, CustomStringConvertible {
    public let description: String
  }

  /// `$1` is the command. The shell that waits holds neither its output nor its errors open.
  private static let script = """
    (read -r _; kill -s KILL 0) <&3 >/dev/null 2>&1 & exec 3<&-
    exec /bin/sh -c "$1"
    """

  /// The same, with `$2` seconds until it is killed.
  private static let boundedScript = script.replacing(
    #"exec /bin/sh"#, with: #"exec timeout --foreground -s KILL "$2" /bin/sh"#)

  /// Starts it. Its input is empty, and its errors go where ours go.
  /// - Parameter limit: After this time it is killed; nil if it may take any time.
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

    // Nothing else of ours: the export would keep our connections open.
    for name in try FileManager.default.contentsOfDirectory(atPath: "/dev/fd") {
      if let descriptor = Int32(name), descriptor > 2 { _ = fcntl(descriptor, F_SETFD, FD_CLOEXEC) }
    }

    // This process ignores some signals; an export must die of a broken pipe.
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

  /// Waits for its end, when its output has been read.
  /// - Throws: ``Failed`` unless it exited with 0.
  public func finish() throws {
    let status = end(killing: false)
    let signal = status & 0x7f
    let code = (status >> 8) & 0xff
    if signal != 0 { throw Failed(description: "the command was ended by signal \(signal)") }
    if code != 0 { throw Failed(description: "the command ended with status \(code)") }
  }

  /// Reaps the command and ends what it left behind.
  @discardableResult
  private func end(killing: Bool = true) -> Int32 {
    guard !hasEnded else { return 0 }
    hasEnded = true
    if killing { kill(-pid, SIGKILL) }
    // Its number stays its own until it is reaped, and the group has the same.
    var info = siginfo_t()
    while waitid(P_PID, id_t(pid), &info, WEXITED | WNOWAIT) != 0, errno == EINTR {}
    kill(-pid, SIGKILL)
    var status: Int32 = 0
    while waitpid(pid, &status, 0) < 0, errno == EINTR {}
    return status
  }

  /// Neither end is inherited by other programs.
  private static func pipe() throws -> (read: Int32, write: Int32) {
    var ends: [Int32] = [0, 0]
    guard Foundation.pipe(&ends) == 0 else { throw CannotStart("pipe", errno) }
    for end in ends { _ = fcntl(end, F_SETFD, FD_CLOEXEC) }
    return (ends[0], ends[1])
  }
}
