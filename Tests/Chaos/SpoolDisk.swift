// The disk of the nodes' spools, small enough to be filled: a tmpfs if it may be mounted, else a folder, which can't be
// filled. Scripts/chaos starts this program in its own mount namespace, so the tmpfs ends with the process.

import Foundation
import RedisFixture

/// Where nodes spool while Redis is away.
final class SpoolDisk: Sendable {
  private let root: String
  /// Whether it is a file system of its own, which can be filled.
  let isSeparate: Bool

  private init(root: String, isSeparate: Bool) {
    self.root = root
    self.isSeparate = isSeparate
  }

  /// Detaches what was mounted in a run's folder, so that it can be removed; nothing where nothing was.
  static func unmount(in folder: URL) {
    for server in RedisBuild.supported {
      _ = umount2(folder.appending(path: "\(server)/spool").path, Int32(MNT_DETACH))
    }
  }

  /// Nil where nodes of this build have no spool.
  static func mount(in folder: URL) async throws -> SpoolDisk? {
    guard try await Deployment.knows("ingest-node", "--spool") else { return nil }
    let root = folder.appending(path: "spool").path
    try FileManager.default.createDirectory(atPath: root, withIntermediateDirectories: true)
    guard ProcessInfo.processInfo.environment["CHAOS_MAY_MOUNT"] == "yes" else {
      return SpoolDisk(root: root, isSeparate: false)
    }
    let mount = try await ServiceProcess.start("/bin/mount", ["-t", "tmpfs", "-o", "size=24m", "sluice-chaos", root])
    guard try await mount.waitForExit() == .exited(0) else {
      throw Trouble(description: "the spool's disk can't be mounted: \(mount.outputs)")
    }
    return SpoolDisk(root: root, isSeparate: true)
  }

  /// The options of one node.
  func arguments(of role: Role) throws -> [String] {
    let path = "\(root)/\(role)"
    try FileManager.default.createDirectory(atPath: path, withIntermediateDirectories: true)
    // Drained as fast as it can: what is spooled in a round must be stored in it.
    return ["--spool", path, "--spool-rate", "100000"]
  }

  private var filler: String { "\(root)/filler" }

  /// Leaves no byte free.
  func fill() throws {
    try Data().write(to: URL(filePath: filler))
    let file = try FileHandle(forWritingTo: URL(filePath: filler))
    defer { file.closeFile() }
    for size in [1 << 20, 1 << 12, 1] {
      let bytes = [UInt8](repeating: 0, count: size)
      while write(file.fileDescriptor, bytes, size) == size {}
    }
  }

  /// Gives back what ``fill()`` took.
  func empty() throws {
    if FileManager.default.fileExists(atPath: filler) { try FileManager.default.removeItem(atPath: filler) }
  }
}
