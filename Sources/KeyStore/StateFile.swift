// The mirror's image on disk. It is written to a temporary file, synced and renamed, so that a reader sees either the
// old or the new one, completely.

import Foundation
public import KeyReplica
import PrivateFiles

/// The file in which a node keeps its mirror for its next start.
public struct StateFile: Sendable {
  private let path: String

  /// - Parameter folder: Created if it doesn't exist.
  /// - Throws: If it can't be created, isn't a folder, or is writable by all users.
  public init(folder: String) throws {
    try PrivateFolder.make(folder, makesParents: true)
    path = "\(folder)/mirror.sluice"
  }

  /// The saved image; nil if there is none.
  /// - Throws: ``KeyReplica/UnusableImage`` if it isn't valid, or the system's error if it can't be read.
  public func load(source: String) throws -> MirrorImage? {
    guard PrivateFile.exists(path) else { return nil }
    let file = FileHandle(fileDescriptor: try PrivateFile.open(path, O_RDONLY), closeOnDealloc: true)
    let data = try file.readToEnd() ?? Data()
    return try MirrorImage(decoding: [UInt8](data), source: source, bucketCount: StoreLayout.bucketCount)
  }

  /// Replaces the saved image.
  /// - Throws: The system's error. Then the old image still exists.
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
    // The rename itself is on disk only after an fsync of the folder.
    try PrivateFolder.sync((path as NSString).deletingLastPathComponent)
  }
}
