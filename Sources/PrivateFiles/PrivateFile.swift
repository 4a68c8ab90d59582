// Files and folders that only this user may read: payloads are customers' data, and a mirror says who the customers are. All that the
// executables make on a disk goes through here, so that there is one place that decides on modes, links and owners:
//
// - A file is made with mode 0600 and a folder with 0700, whatever the umask is. A file of an older build that others may read is tightened.
// - A link in a file's place isn't followed, and nothing but a regular file is used: whoever put a link, a pipe or a device there would lead
//   payloads elsewhere or have another file overwritten.
// - A file that belongs to another user (but for root) isn't used: that user could read it.
// - A folder that everybody may write to isn't used, unless it has the sticky bit (as /tmp has, where others can't replace our files). A folder
//   that its group may write to is used: volumes in Kubernetes are such, and who is in the group is the operator's decision. A link to a folder
//   is followed, because operators put data on another disk that way.
//
// Rejected: to set the umask, which is the whole process's and says nothing about links. To refuse links in all of a path, which would refuse
// /var/run.

public import Foundation

/// A file or folder that can't be used as it is; the description says what was found and what to do.
public struct UnusablePath: Error, Sendable, Equatable, CustomStringConvertible {
  public let description: String

  public init(_ description: String) { self.description = description }

  /// What the system refused, in its own words. To be made before anything else changes `errno`.
  public init(system call: String, _ path: String) {
    self.init("\(call) of \(path) failed: \(String(cString: strerror(errno)))")
  }
}

public enum PrivateFile {
  public static let mode: mode_t = 0o600

  /// Opens a file that is this user's alone.
  /// - Parameter flags: As open(2) takes them; a file that is made has mode 0600.
  /// - Returns: A descriptor that programs which this process starts don't get.
  public static func open(_ path: String, _ flags: Int32) throws(UnusablePath) -> Int32 {
    // Without O_NONBLOCK a pipe that nobody reads or writes would keep us waiting. For a regular file it means nothing.
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

  /// Makes sure that a database's file is there and private, and so are those that SQLite has beside it.
  public static func prepareDatabase(_ path: String) throws(UnusablePath) {
    close(try open(path, O_RDWR | O_CREAT))
    // SQLite makes them with the mode of the database's file.
    for suffix in ["-wal", "-shm", "-journal"] where exists(path + suffix) { close(try open(path + suffix, O_RDWR)) }
  }

  /// Makes a file anew. A file or link that is in its place is removed first; its target isn't touched.
  public static func replace(_ path: String) throws(UnusablePath) -> Int32 {
    guard unlink(path) == 0 || errno == ENOENT else { throw UnusablePath(system: "unlink", path) }
    return try open(path, O_RDWR | O_CREAT | O_EXCL)
  }

  /// Whether there is anything at this path, a link that leads nowhere included.
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
        "\(path) belongs to user \(status.st_uid), who could read what is written into it, and this process runs as user \(geteuid()): "
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

  /// Makes a folder, or checks the one that is there.
  /// - Parameter makesParents: Whether folders above it are made as well.
  public static func make(_ path: String, makesParents: Bool = false) throws(UnusablePath) {
    guard !isFolder(path) else { return try check(path) }
    let parent = (path as NSString).deletingLastPathComponent
    if makesParents, !parent.isEmpty, parent != path, !isFolder(parent) { try make(parent, makesParents: true) }
    do throws(UnusablePath) {
      try makeNew(path)
    } catch {
      // Another process may have been faster.
      guard isFolder(path) else { throw error }
      try check(path)
    }
  }

  /// Makes a folder where nothing may be yet.
  public static func makeNew(_ path: String) throws(UnusablePath) {
    guard mkdir(path, mode) == 0 else { throw UnusablePath(system: "mkdir", path) }
    // The umask may have taken rights away from ourselves.
    guard chmod(path, mode) == 0 else { throw UnusablePath(system: "chmod", path) }
  }

  /// Checks the folder of a file.
  public static func check(of file: String) throws(UnusablePath) {
    let folder = (file as NSString).deletingLastPathComponent
    try check(folder.isEmpty ? "." : folder)
  }

  /// A new name in a folder is on disk only once the folder is.
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
        "everybody may write to the folder \(path) (mode \(String(status.st_mode & 0o7777, radix: 8))), and so could replace the files in it: "
          + "take that right away (chmod o-w), or choose another folder")
    }
  }

  private static func isFolder(_ path: String) -> Bool {
    var status = stat()
    return stat(path, &status) == 0 && status.st_mode & S_IFMT == S_IFDIR
  }
}
