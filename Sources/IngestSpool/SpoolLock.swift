// One process for one folder: two processes that drain it would push everything twice, and neither would know the
// other's counts. The kernel releases the lock when the process ends for any reason, so a killed process leaves no
// lock.

internal import Foundation
internal import PrivateFiles
internal import Synchronization

/// The lock on a spool's folder. Held until it is released, or until this object is freed.
final class SpoolLock: Sendable {
  private let descriptor: Mutex<Int32?>

  init(folder: String) throws(UnusableSpool) {
    let path = "\(folder)/lock"
    let descriptor: Int32
    do throws(UnusablePath) {
      descriptor = try PrivateFile.open(path, O_RDWR | O_CREAT)
    } catch {
      throw UnusableSpool("could not lock the folder: \(error)")
    }
    guard flock(descriptor, LOCK_EX | LOCK_NB) == 0 else {
      let isInUse = errno == EWOULDBLOCK
      let words = isInUse ? "process \(Self.owner(descriptor)) uses this spool" : Self.systemWords
      close(descriptor)
      throw UnusableSpool(
        "could not lock \(path): \(words); each node needs a folder of its own", isInUse: isInUse)
    }
    self.descriptor = Mutex(descriptor)
    // For the error message of a second process. The lock is effective even if this can't be written.
    let pid = Array("\(getpid())\n".utf8)
    _ = ftruncate(descriptor, 0)
    _ = pwrite(descriptor, pid, pid.count, 0)
  }

  deinit { release() }

  func release() {
    descriptor.withLock { descriptor in
      if let descriptor { close(descriptor) }
      descriptor = nil
    }
  }

  private static var systemWords: String { String(cString: strerror(errno)) }

  private static func owner(_ descriptor: Int32) -> String {
    var bytes = [UInt8](repeating: 0, count: 32)
    let count = pread(descriptor, &bytes, bytes.count, 0)
    let digits = String(decoding: bytes.prefix(max(0, count)), as: UTF8.self).filter(\.isNumber)
    return digits.isEmpty ? "(unknown)" : digits
  }
}
