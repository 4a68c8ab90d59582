// Compresses finished files: the result is written to a temporary file, fsynced and renamed into place, and only then
// the plain file is removed. It runs on a separate thread, one file at a time, because a batch must not wait for it.

internal import CZstd
internal import Dispatch
internal import Foundation
internal import Logging

final class FileCompression: Sendable {
  private let folder: PayloadFolder
  private let logger: Logger
  private let queue = DispatchQueue(label: "sink-compression", qos: .utility)

  init(_ folder: PayloadFolder, logger: Logger) {
    self.folder = folder
    self.logger = logger
  }

  /// Continues with the files of an earlier process.
  func takeUp() throws(SinkFailure) {
    for name in try folder.names(ending: ".jsonl.zst.part") {
      try FileDescriptor.remove(folder.compressed(name) + ".part")
    }
    for name in try folder.names(ending: ".jsonl") { compress(name) }
  }

  func compress(_ name: String) {
    queue.async { [self] in
      do throws(SinkFailure) {
        if !FileManager.default.fileExists(atPath: folder.compressed(name)) { try write(name) }
        try FileDescriptor.remove(folder.plain(name))
      } catch {
        // The file stays unchanged, and is compressed after the next start.
        logger.error(
          "compressing a finished file failed: it stays as it is, and the next start tries again",
          metadata: ["file": "\(folder.plain(name))", "reason": "\(error)"])
      }
    }
  }

  /// Waits until the current compression is done.
  func finish() { queue.sync {} }

  private func write(_ name: String) throws(SinkFailure) {
    let source = try FileDescriptor(folder.plain(name), O_RDONLY)
    let part = folder.compressed(name) + ".part"
    let target = try FileDescriptor(replacing: part)
    guard let stream = ZSTD_createCCtx() else { throw SinkFailure("zstd is out of memory") }
    defer { ZSTD_freeCCtx(stream) }
    _ = ZSTD_CCtx_setParameter(stream, ZSTD_c_checksumFlag, 1)
    var plain = [UInt8](repeating: 0, count: 1 << 20)
    var packed = [UInt8](repeating: 0, count: ZSTD_CStreamOutSize())
    var count = 0
    repeat {
      count = try source.read(into: &plain)
      let end = count == 0 ? ZSTD_e_end : ZSTD_e_continue
      var used = 0
      var left = 1
      while used < count || (count == 0 && left > 0) {
        var made = 0
        left = plain.withUnsafeBytes { plain in
          packed.withUnsafeMutableBytes { packed in
            var input = ZSTD_inBuffer(src: plain.baseAddress, size: count, pos: used)
            var output = ZSTD_outBuffer(dst: packed.baseAddress, size: packed.count, pos: 0)
            let left = ZSTD_compressStream2(stream, &output, &input, end)
            used = input.pos
            made = output.pos
            return left
          }
        }
        guard ZSTD_isError(left) == 0 else {
          throw SinkFailure("zstd failed on \(source.path): \(String(cString: ZSTD_getErrorName(left)))")
        }
        try packed[..<made].withUnsafeBytes { target.write($0) }.get()
      }
    } while count > 0
    try target.sync()
    try FileDescriptor.rename(part, to: folder.compressed(name))
  }
}
