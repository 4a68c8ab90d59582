// Ensures that only one process uses a folder. The lock is the kernel's (flock), so it ends with its process, for any
// reason. The file's text names the process, for a second process's error message.

internal import Foundation

struct FolderLock {
  private let file: FileDescriptor

  init(folder: String) throws(SinkFailure) {
    let path = "\(folder)/.lock"
    file = try FileDescriptor(path, O_RDWR | O_CREAT)
    guard flock(file.number, LOCK_EX | LOCK_NB) == 0 else {
      guard errno == EWOULDBLOCK else { throw FileDescriptor.failure("flock", path) }
      var words = [UInt8](repeating: 0, count: 200)
      let count = try file.read(into: &words)
      let holder = count > 0 ? String(decoding: words[..<count], as: UTF8.self) : "another process"
      throw SinkFailure("\(holder) writes into \(folder) already: give each worker a folder of its own")
    }
    try file.truncate(to: 0)
    let words = "process \(getpid()) on \(ProcessInfo.processInfo.hostName)"
    try Array(words.utf8).withUnsafeBytes { file.write($0) }.get()
  }

  /// Whether the folder at the path is still the one that was locked.
  var isInPlace: Bool { file.isInPlace }
}
