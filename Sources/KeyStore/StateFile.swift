// The mirror's image on disk. Written aside, synced and renamed, so that whoever reads it sees the old or the new one, whole.

import Foundation
public import KeyReplica

/// Where a node keeps its mirror for its next start.
public struct StateFile: Sendable {
  private let path: String

  /// - Parameter folder: Is made if it isn't there.
  /// - Throws: Where it can't be made or isn't a folder.
  public init(folder: String) throws {
    try FileManager.default.createDirectory(atPath: folder, withIntermediateDirectories: true)
    path = "\(folder)/mirror.sluice"
  }

  /// What was saved last; nil if nothing ever was.
  /// - Throws: ``KeyReplica/UnusableImage`` where it isn't what it should be, or what the system says where it can't be read.
  public func load(source: String) throws -> MirrorImage? {
    guard FileManager.default.fileExists(atPath: path) else { return nil }
    let data = try Data(contentsOf: URL(fileURLWithPath: path), options: .alwaysMapped)
    return try MirrorImage(decoding: [UInt8](data), source: source, bucketCount: StoreLayout.bucketCount)
  }

  /// Replaces what was saved.
  /// - Throws: What the system says; what was saved before is still there then.
  public func save(_ image: MirrorImage) throws {
    let aside = path + ".new"
    let descriptor = open(aside, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0o600)
    guard descriptor >= 0 else { throw SystemFailure(doing: "create \(aside)") }
    defer { close(descriptor) }
    try image.encoded().withUnsafeBytes { bytes in
      var rest = bytes[...]
      while !rest.isEmpty {
        let written = write(descriptor, UnsafeRawBufferPointer(rebasing: rest).baseAddress, rest.count)
        if written < 0, errno == EINTR { continue }
        guard written > 0 else { throw SystemFailure(doing: "write \(aside)") }
        rest = rest.dropFirst(written)
      }
    }
    guard fsync(descriptor) == 0 else { throw SystemFailure(doing: "sync \(aside)") }
    guard rename(aside, path) == 0 else { throw SystemFailure(doing: "rename \(aside)") }
    // The rename itself is on disk only once the folder is.
    let folder = open((path as NSString).deletingLastPathComponent, O_RDONLY | O_CLOEXEC)
    guard folder >= 0 else { throw SystemFailure(doing: "open the folder of \(path)") }
    defer { close(folder) }
    guard fsync(folder) == 0 else { throw SystemFailure(doing: "sync the folder of \(path)") }
  }
}

/// Something the system refused.
struct SystemFailure: Error, CustomStringConvertible {
  let description: String

  init(doing what: String) { description = "could not \(what): \(String(cString: strerror(errno)))" }
}
