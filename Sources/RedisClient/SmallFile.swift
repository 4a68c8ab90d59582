internal import Foundation

/// A file of credentials, keys or certificates, which is read at each connection.
enum SmallFile {
  /// Maximum size. A system's file of certificate authorities has some hundred KiB.
  static let limit = 4 << 20

  static func read(_ path: String) throws(UnreadableFile) -> [UInt8] {
    // Without O_NONBLOCK a pipe without a writer would block the event loop.
    let descriptor = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK)
    guard descriptor >= 0 else { throw UnreadableFile(errno) }
    defer { close(descriptor) }
    var status = stat()
    guard fstat(descriptor, &status) == 0 else { throw UnreadableFile(errno) }
    switch status.st_mode & S_IFMT {
    case S_IFREG: break
    case S_IFDIR: throw UnreadableFile("it is a folder")
    default: throw UnreadableFile("it is no file")
    }
    var (bytes, count) = ([UInt8](), 0)
    var buffer = [UInt8](repeating: 0, count: 64 << 10)
    repeat {
      count = Foundation.read(descriptor, &buffer, buffer.count)
      guard count >= 0 else { throw UnreadableFile(errno) }
      bytes += buffer.prefix(count)
      guard bytes.count <= limit else { throw UnreadableFile("it has more than \(limit >> 20) MiB") }
    } while count > 0
    return bytes
  }
}

/// Why a file can't be read. The caller adds the path.
struct UnreadableFile: Error, CustomStringConvertible {
  let description: String

  init(_ description: String) { self.description = description }

  /// The system's error text.
  init(_ code: CInt) { description = String(cString: strerror(code)) }
}
