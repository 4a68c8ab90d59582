// Files and folders that only this user may read: payloads are customers' data, and a mirror contains the customers'
// names. All files of the executables are opened here, so that modes, links and owners are decided in one file:
//
// - A file is created with mode 0600 and a folder with 0700, whatever the umask is. A file of an older build that
//   others may read is tightened.
// - A link to a file isn't followed, and only a regular file is used: another user's link, pipe or device could send
//   payloads elsewhere or cause another file to be overwritten.
// - A file that belongs to another user (except root) isn't used: that user could read it.
// - A folder that all users may write to isn't used, unless it has the sticky bit (as /tmp has; other users can't
//   replace our files there). A folder that its group may write to is used: volumes in Kubernetes have such modes, and
//   the operator controls the group. A link to a folder is followed, because operators use such links to put data on
//   another disk.
//
// Rejected: setting the umask, which affects the whole process but not links; and refusing links in the whole path,
// which would refuse /var/run.

public import Foundation

/// A file or folder can't be used in its present state. The description says what was found and what to do.
public struct UnusablePath: Error, Sendable, Equatable, CustomStringConvertible {
  public let description: String

  public init(_ description: String) { self.description = description }

  /// The system's error text. Call it before another call changes `errno`.
  public init(system call: String, _ path: String) {
    self.init("\(call) of \(path) failed: \(String(cString: strerror(errno)))")
  }
}

public enum PrivateFile {
  public static let mode: mode_t = 0o600

  /// Opens a file that only this user may read.
  /// - Parameter flags: As for open(2); a new file has mode 0600.
  /// - Returns: A descriptor that child processes don't inherit.
  public static func open(_ path: String, _ flags: Int32) throws(UnusablePath) -> Int32 {
    // Without O_NONBLOCK a pipe without a reader or writer would block. For a regular file it has no effect.
    let descriptor = Foundation.open(path, flags | O_NOFOLLOW | O_CLOEXEC | O_NONBLOCK, mode)
    guard descriptor >= 0 else {
      let failure = UnusablePath(system: "open", path)
      throw isLink(path) ? link(path) : failure
    }
    do throws(UnusablePath) {
      try check(descriptor, path)
      return descriptor
    } catch {
      close(descriptor)
      throw error
    }
  }

  /// Ensures that a database's file exists and is private, and that SQLite's files beside it are private.
  public static func prepareDatabase(_ path: String) throws(UnusablePath) {
    close(try open(path, O_RDWR | O_CREAT))
    // SQLite creates these with the mode of the database's file.
    for suffix in ["-wal", "-shm", "-journal"] where exists(path + suffix) { close(try open(path + suffix, O_RDWR)) }
  }

  /// Creates a new file. A file or link at this path is removed first; a link's target isn't touched.
  public static func replace(_ path: String) throws(UnusablePath) -> Int32 {
    guard unlink(path) == 0 || errno == ENOENT else { throw UnusablePath(system: "unlink", path) }
    return try open(path, O_RDWR | O_CREAT | O_EXCL)
  }

  /// Creates a file without a name, which is gone when its descriptor is closed, however the process ends.
  /// - Parameter folder: Where its bytes are.
  public static func unnamed(in folder: String) throws(UnusablePath) -> Int32 {
    #if os(Linux)
      // O_TMPFILE, a macro that Swift doesn't import.
      let descriptor = Foundation.open(folder, 0o20_000_000 | O_DIRECTORY | O_RDWR | O_CLOEXEC, mode)
      if descriptor >= 0 { return descriptor }
    // Some file systems can't do it; the other errors come again below.
    #endif
    var template = Array((folder + "/sluice-XXXXXX").utf8CString)
    let named = mkstemp(&template)
    guard named >= 0 else { throw UnusablePath(system: "mkstemp", folder) }
    guard unlink(template) == 0, fcntl(named, F_SETFD, FD_CLOEXEC) == 0 else {
      let failure = UnusablePath(system: "unlink", folder)
      close(named)
      throw failure
    }
    return named
  }

  /// Whether there is anything at this path, including a dangling link.
  public static func exists(_ path: String) -> Bool {
    var status = stat()
    return lstat(path, &status) == 0
  }

  private static func check(_ descriptor: Int32, _ path: String) throws(UnusablePath) {
    var status = stat()
    guard fstat(descriptor, &status) == 0 else { throw UnusablePath(system: "fstat", path) }
    guard status.st_mode & S_IFMT == S_IFREG else {
      throw UnusablePath("\(path) is not a file but \(kind(status.st_mode)): remove it, or choose another path")
    }
    guard [geteuid(), 0].contains(status.st_uid) else {
      throw UnusablePath(
        "\(path) belongs to user \(status.st_uid), but this process runs as user \(geteuid()): "
          + "change the owner (chown), or choose another path")
    }
    guard status.st_mode & 0o777 != mode, status.st_uid == geteuid() else { return }
    guard fchmod(descriptor, mode) == 0 else { throw UnusablePath(system: "chmod", path) }
  }

  private static func isLink(_ path: String) -> Bool {
    var status = stat()
    return lstat(path, &status) == 0 && status.st_mode & S_IFMT == S_IFLNK
  }

  private static func link(_ path: String) -> UnusablePath {
    var target = [CChar](repeating: 0, count: 4_096)
    let count = readlink(path, &target, target.count)
    let bytes = target.prefix(max(count, 0)).map(UInt8.init(bitPattern:))
    let text = bytes.isEmpty ? "another file" : String(decoding: bytes, as: UTF8.self)
    return UnusablePath(
      "\(path) is a link to \(text), and links are not followed: remove the link, or give the path of the file itself")
  }

  private static func kind(_ mode: mode_t) -> String {
    switch mode & S_IFMT {
    case S_IFDIR: "a folder"
    case S_IFIFO: "a pipe"
    case S_IFSOCK: "a socket"
    default: "a device"
    }
  }
}

public enum PrivateFolder {
  public static let mode: mode_t = 0o700

  /// Creates a folder, or checks the existing one.
  /// - Parameter makesParents: Whether missing parents are created as well.
  public static func make(_ path: String, makesParents: Bool = false) throws(UnusablePath) {
    guard !isFolder(path) else { return try check(path) }
    let parent = (path as NSString).deletingLastPathComponent
    if makesParents, !parent.isEmpty, parent != path, !isFolder(parent) { try make(parent, makesParents: true) }
    do throws(UnusablePath) {
      try makeNew(path)
    } catch {
      // Another process may have created it first.
      guard isFolder(path) else { throw error }
      try check(path)
    }
  }

  /// Creates a folder at a path where nothing exists yet.
  public static func makeNew(_ path: String) throws(UnusablePath) {
    guard mkdir(path, mode) == 0 else { throw UnusablePath(system: "mkdir", path) }
    // The umask may have removed the owner's rights.
    guard chmod(path, mode) == 0 else { throw UnusablePath(system: "chmod", path) }
  }

  /// Checks the folder of a file.
  public static func check(of file: String) throws(UnusablePath) {
    let folder = (file as NSString).deletingLastPathComponent
    try check(folder.isEmpty ? "." : folder)
  }

  /// Fsyncs a folder. Only then is a new name in it on disk.
  public static func sync(_ path: String) throws(UnusablePath) {
    let descriptor = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC)
    guard descriptor >= 0 else { throw UnusablePath(system: "open", path) }
    defer { close(descriptor) }
    guard fsync(descriptor) == 0 else { throw UnusablePath(system: "fsync", path) }
  }

  private static func check(_ path: String) throws(UnusablePath) {
    var status = stat()
    guard stat(path, &status) == 0 else { throw UnusablePath(system: "stat", path) }
    guard status.st_mode & S_IFMT == S_IFDIR else { throw UnusablePath("\(path) is not a folder") }
    guard status.st_mode & 0o002 == 0 || status.st_mode & mode_t(S_ISVTX) != 0 else {
      throw UnusablePath(
        "every user can write to the folder \(path) (mode \(String(status.st_mode & 0o7777, radix: 8))) and replace its files: "
          + "run chmod o-w \(path), or choose another folder")
    }
  }

  private static func isFolder(_ path: String) -> Bool {
    var status = stat()
    return stat(path, &status) == 0 && status.st_mode & S_IFMT == S_IFDIR
  }
}
