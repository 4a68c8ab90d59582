// A file that is open, in the few calls that durability is made of. Each that fails says so by the system's own words.

internal import Foundation

/// An open file. Closed with the object.
final class FileDescriptor {
  let number: Int32
  let path: String

  /// - Parameter flags: As open(2) takes them.
  init(_ path: String, _ flags: Int32) throws(SinkFailure) {
    number = Foundation.open(path, flags | O_CLOEXEC, 0o644)
    self.path = path
    guard number >= 0 else { throw Self.failure("open", path) }
  }

  deinit { if number >= 0 { Foundation.close(number) } }

  static func failure(_ call: String, _ path: String) -> SinkFailure {
    SinkFailure("\(call) of \(path) failed: \(String(cString: strerror(errno)))")
  }

  /// Writes all of it. A result, because the closures that lend bytes can't all throw what we say.
  func write(_ bytes: UnsafeRawBufferPointer) -> Result<Void, SinkFailure> {
    var rest = bytes
    while !rest.isEmpty {
      let count = Foundation.write(number, rest.baseAddress, rest.count)
      if count < 0 && errno == EINTR { continue }
      guard count > 0 else { return .failure(Self.failure("write", path)) }
      rest = UnsafeRawBufferPointer(rebasing: rest[count...])
    }
    return .success(())
  }

  /// Up to so many bytes; none at the end.
  func read(into buffer: inout [UInt8]) throws(SinkFailure) -> Int {
    while true {
      let count = buffer.withUnsafeMutableBytes { Foundation.read(number, $0.baseAddress, $0.count) }
      if count < 0 && errno == EINTR { continue }
      guard count >= 0 else { throw Self.failure("read", path) }
      return count
    }
  }

  /// When this returns, what was written outlives a crash of the machine.
  func sync() throws(SinkFailure) {
    guard fsync(number) == 0 else { throw Self.failure("fsync", path) }
  }

  func truncate(to length: Int) throws(SinkFailure) {
    guard ftruncate(number, off_t(length)) == 0, lseek(number, off_t(length), SEEK_SET) >= 0 else {
      throw Self.failure("ftruncate", path)
    }
  }

  /// Whether the file is still the one at its path.
  var isInPlace: Bool {
    var mine = stat()
    var there = stat()
    return fstat(number, &mine) == 0 && stat(path, &there) == 0 && mine.st_ino == there.st_ino
      && mine.st_dev == there.st_dev
  }

  /// Renames, and has the folder on disk afterwards.
  static func rename(_ old: String, to new: String) throws(SinkFailure) {
    guard Foundation.rename(old, new) == 0 else { throw failure("rename", old) }
    try syncFolder(of: new)
  }

  static func syncFolder(of path: String) throws(SinkFailure) {
    try FileDescriptor(String(path[..<(path.lastIndex(of: "/") ?? path.startIndex)]), O_RDONLY | O_DIRECTORY).sync()
  }

  static func remove(_ path: String) throws(SinkFailure) {
    guard unlink(path) == 0 || errno == ENOENT else { throw failure("unlink", path) }
  }
}
