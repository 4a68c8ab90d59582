// A spool on a disk that is full: on a small file system of its own, which only root can mount, or on the small /dev/shm that a container has,
// filled up but for a few MiB.

import Foundation
import IngestQueue
import RedisFixture
import Testing

@testable import IngestSpool

@Suite(.serialized) struct FullDiskTests {
  /// Runs the body with a folder that has room for this number of bytes.
  private func withDisk(megabytes: Int, _ body: (_ folder: String) async throws -> Void) async throws {
    let folder = try TemporaryFolder()
    if mount("tmpfs", folder.path, "tmpfs", 0, "size=\(megabytes)m") == 0 {
      defer {
        if umount2(folder.path, Int32(MNT_DETACH)) != 0 { Issue.record("\(folder.path) is left mounted") }
      }
      return try await body(folder.path)
    }
    let reason = String(cString: strerror(errno))
    guard let shared = try Self.sharedMemory(leaving: megabytes) else {
      throw NeverHappened(
        description:
          "no file system of \(megabytes) MiB could be mounted: \(reason); this test needs root, or a small /dev/shm")
    }
    defer {
      do { try FileManager.default.removeItem(atPath: shared) } catch { Issue.record("\(shared) is left: \(error)") }
    }
    try await body(shared)
  }

  /// A folder in /dev/shm, where that is so small that it may be filled up; nil elsewhere.
  private static func sharedMemory(leaving megabytes: Int) throws -> String? {
    var info = statvfs()
    guard statvfs("/dev/shm", &info) == 0, info.f_blocks * info.f_frsize <= 256 << 20 else { return nil }
    let room = Int(info.f_bavail * info.f_frsize) - (megabytes << 20)
    guard room >= 0 else { return nil }
    let folder = "/dev/shm/sluice-\(UUID())"
    try FileManager.default.createDirectory(atPath: folder, withIntermediateDirectories: true)
    try Data(repeating: 1, count: room).write(to: URL(filePath: "\(folder)/others"))
    return folder
  }

  /// Fills it up with payloads.
  /// - Returns: How many were taken.
  private func fill(_ spool: Spool, from first: Int = 0) async throws -> Int {
    for number in first..<first + 10_000 {
      guard let refusal = await spool.refusal(number, bytes: 20_000) else { continue }
      guard case .noRoom = refusal else { throw NeverHappened(description: "\(refusal) instead of a full disk") }
      return number - first
    }
    throw NeverHappened(description: "ten thousand payloads found room")
  }

  private func takesAll(_ spool: Spool, _ numbers: [Int]) async throws {
    #expect(try await spool.payloads().map(\.header) == numbers.map { Sample.header($0) })
    #expect(spool.figures.entries == numbers.count)
  }

  @Test func `on a full disk nothing more is taken, nothing is lost, and with room it goes on`() async throws {
    let bench = try SpoolBench()
    try await withDisk(megabytes: 4) { disk in
      let filler = "\(disk)/filler"
      try Data(repeating: 1, count: 2 << 20).write(to: URL(fileURLWithPath: filler))
      let spool = try bench.open(in: "\(disk)/spool")
      let taken = try await fill(spool)
      #expect(taken > 10)
      guard case .noRoom? = spool.figures.objection else {
        Issue.record("it doesn't say so: \(String(describing: spool.figures.objection))")
        return
      }
      try await takesAll(spool, Array(0..<taken))
      #expect(await spool.refusal(taken, bytes: 20_000) != nil)
      try FileManager.default.removeItem(atPath: filler)
      let more = try await fill(spool, from: taken)
      #expect(more > 10)
      try await takesAll(spool, Array(0..<taken + more))
      #expect(try await spool.close() == taken + more)
      // The next process finds all of it, on the full disk.
      let next = try bench.open(in: "\(disk)/spool")
      try await takesAll(next, Array(0..<taken + more))
      _ = try await next.close()
    }
  }

  @Test func `a spool that has filled its own disk is drained, which makes room`() async throws {
    let bench = try SpoolBench()
    try await withDisk(megabytes: 4) { disk in
      let spool = try bench.open(in: disk) { $0.drainedPerSecond = 100_000 }
      let taken = try await fill(spool)
      // To the last byte.
      let rest = open("\(disk)/rest", O_WRONLY | O_CREAT, 0o600)
      defer { close(rest) }
      for size in [1 << 16, 4_096, 1] {
        let bytes = [UInt8](repeating: 1, count: size)
        while write(rest, bytes, size) > 0 {}
      }
      #expect(errno == ENOSPC)
      let queue = ScriptedQueue()
      await queue.drain(spool).finish(by: .farAway)
      #expect(queue.ids == (0..<taken).map { Sample.header($0).id }, "each once")
      #expect(spool.figures.entries == 0 && spool.figures.objection == nil)
      // In the room that they left.
      #expect(try await fill(spool, from: taken) > taken / 2)
      _ = try await spool.close()
    }
  }

  @Test func `where there is no room from the start that is said`() async throws {
    let bench = try SpoolBench()
    try await withDisk(megabytes: 1) { disk in
      _ = try? Data(repeating: 1, count: 1 << 20).write(to: URL(fileURLWithPath: "\(disk)/filler"))
      do {
        _ = try bench.open(in: "\(disk)/spool")
        Issue.record("it was opened")
      } catch {
        #expect("\(error)".contains("full") || "\(error)".contains("No space"), "\(error)")
      }
    }
  }
}
