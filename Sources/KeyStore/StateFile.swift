// The mirror's image on disk. Written aside, synced and renamed, so that whoever reads it sees the old or the new one, whole.

import Foundation
public import KeyReplica
import PrivateFiles

/// Where a node keeps its mirror for its next start.
public struct StateFile: Sendable {
  private let path: String

  /// - Parameter folder: Is made if it isn't there.
  /// - Throws: Where it can't be made, isn't a folder, or may be written to by everybody.
  public init(folder: String) throws {
    try PrivateFolder.make(folder, makesParents: true)
    path = "\(folder)/mirror.sluice"
  }

  /// What was saved last; nil if nothing ever was.
  /// - Throws: ``KeyReplica/UnusableImage`` where it isn't what it should be, or what the system says where it can't be read.
  public func load(source: String) throws -> MirrorImage? {
    guard PrivateFile.exists(path) else { return nil }
    let file = FileHandle(fileDescriptor: try PrivateFile.open(path, O_RDONLY), closeOnDealloc: true)
    let data = try file.readToEnd() ?? Data()
    return try MirrorImage(decoding: [UInt8](data), source: source, bucketCount: StoreLayout.bucketCount)
  }

  /// Replaces what was saved.
  /// - Throws: What the system says; what was saved before is still there then.
  public func save(_ image: MirrorImage) throws {
    let aside = path + ".new"
    let descriptor = try PrivateFile.replace(aside)
    defer { close(descriptor) }
    try image.encoded().withUnsafeBytes { bytes in
      var rest = bytes[...]
      while !rest.isEmpty {
        let written = write(descriptor, UnsafeRawBufferPointer(rebasing: rest).baseAddress, rest.count)
        if written < 0, errno == EINTR { continue }
        guard written > 0 else { throw UnusablePath(system: "write", aside) }
        rest = rest.dropFirst(written)
      }
    }
    guard fsync(descriptor) == 0 else { throw UnusablePath(system: "fsync", aside) }
    guard rename(aside, path) == 0 else { throw UnusablePath(system: "rename", aside) }
    // The rename itself is on disk only once the folder is.
    try PrivateFolder.sync((path as NSString).deletingLastPathComponent)
  }
}
