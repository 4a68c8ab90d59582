// An open file, with the few calls that durability needs. Each error has the system's text.

internal import Foundation
internal import PrivateFiles

/// An open file. It is closed when this object is freed.
final class FileDescriptor {
  let number: Int32
  let path: String

  /// - Parameter flags: As for open(2).
  convenience init(_ path: String, _ flags: Int32) throws(SinkFailure) {
    self.init(try Self.refusing { () throws(UnusablePath) in try PrivateFile.open(path, flags) }, path)
  }

  /// Creates a new file that replaces an old one.
  convenience init(replacing path: String) throws(SinkFailure) {
    self.init(try Self.refusing { () throws(UnusablePath) in try PrivateFile.replace(path) }, path)
  }

  private init(_ number: Int32, _ path: String) {
    self.number = number
    self.path = path
  }

  deinit { Foundation.close(number) }

  /// Converts the error for a path into a sink's error.
  static func refusing<Value>(_ body: () throws(UnusablePath) -> Value) throws(SinkFailure) -> Value {
    do throws(UnusablePath) { return try body() } catch { throw SinkFailure("\(error)") }
  }

  static func failure(_ call: String, _ path: String) -> SinkFailure {
    let isFull = [ENOSPC, EDQUOT, EFBIG].contains(errno)
    return SinkFailure(
      "\(call) of \(path) failed: \(String(cString: strerror(errno)))", cause: isFull ? .noRoom : .sink)
  }

  /// Writes all bytes. It returns a result, because not all closures with access to bytes can throw our error type.
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

  /// Reads up to this number of bytes; none at the end.
  func read(into buffer: inout [UInt8]) throws(SinkFailure) -> Int {
    while true {
      let count = buffer.withUnsafeMutableBytes { Foundation.read(number, $0.baseAddress, $0.count) }
      if count < 0 && errno == EINTR { continue }
      guard count >= 0 else { throw Self.failure("read", path) }
      return count
    }
  }

  /// When this returns, the written bytes survive a crash of the machine.
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
    return fstat(number, &mine) == 0 && lstat(path, &there) == 0 && mine.st_ino == there.st_ino
      && mine.st_dev == there.st_dev
  }

  /// Renames a file, and fsyncs its folder.
  static func rename(_ old: String, to new: String) throws(SinkFailure) {
    guard Foundation.rename(old, new) == 0 else { throw failure("rename", old) }
    try syncFolder(of: new)
  }

  static func syncFolder(of path: String) throws(SinkFailure) {
    let folder = String(path[..<(path.lastIndex(of: "/") ?? path.startIndex)])
    try refusing { () throws(UnusablePath) in try PrivateFolder.sync(folder) }
  }

  static func remove(_ path: String) throws(SinkFailure) {
    guard unlink(path) == 0 || errno == ENOENT else { throw failure("unlink", path) }
  }
}
