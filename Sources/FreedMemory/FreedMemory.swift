// Returns memory to the system that the allocator keeps after a peak.
//
// glibc keeps freed memory as long as a later block in the same heap is in use. After a moment with five thousand busy
// connections, a node kept half a gigabyte of unused memory permanently, and a container's limit counts all of it.
//
// Rejected: glibc's own trim threshold, because it applies only to the end of each heap. Rejected: another allocator,
// because all programs would depend on it for a problem that one call solves.

internal import CMalloc
internal import Foundation
public import Logging
public import ServiceLifecycle

/// Checks periodically how much resident memory is unused, and returns it to the system.
public struct FreedMemory: Service {
  private static let interval = Duration.seconds(10)

  private let logger: Logger

  /// - Parameter logger: Logs how much was returned.
  public init(logger: Logger) { self.logger = logger }

  public func run() async throws {
    await cancelWhenGracefulShutdown {
      var peak = Peak()
      while !Task.isCancelled {
        do { try await Task.sleep(for: Self.interval) } catch { return }
        Self.look(&peak, logger)
      }
    }
  }

  /// Returns memory if a peak is over.
  static func look(_ peak: inout Peak, _ logger: Logger) {
    guard let before = MemoryUse.now, peak.isOver(before) else { return }
    MemoryUse.giveBack()
    guard let after = MemoryUse.now else { return }
    logger.info(
      "freed memory returned to the system",
      metadata: ["resident_before": "\(before.resident)", "resident_after": "\(after.resident)"])
  }
}

/// Decides when returning memory is worth it: if much is unused, and it wasn't needed since the last check. Returning
/// it takes some tens of milliseconds for each hundred megabytes, and threads that allocate wait meanwhile.
struct Peak {
  /// Less unused memory isn't worth returning.
  static let worthwhile = 64 << 20

  private var wasUnused = false

  /// - Returns: Whether memory should be returned.
  mutating func isOver(_ use: MemoryUse) -> Bool {
    let isUnused = use.unused >= max(Self.worthwhile, use.used / 2)
    defer { wasUnused = isUnused && !wasUnused }
    return isUnused && wasUnused
  }
}

/// The process's memory, in bytes.
struct MemoryUse {
  /// Resident memory of this process, not shared with others.
  var resident: Int
  /// Allocated and not freed.
  var used: Int
  /// Resident and not in use.
  var unused: Int { resident - used }

  #if canImport(Glibc)
    /// Nil if the system doesn't provide these figures.
    static var now: MemoryUse? {
      guard let text = try? String(contentsOfFile: "/proc/self/statm", encoding: .utf8) else { return nil }
      let pages = text.split(separator: " ").compactMap { Int($0) }
      guard pages.count > 2 else { return nil }
      let resident = (pages[1] - pages[2]) * sysconf(CInt(_SC_PAGESIZE))
      // Measuring walks through all free blocks, so it is skipped if there can't be many.
      guard resident >= Peak.worthwhile else { return MemoryUse(resident: resident, used: resident) }
      let counts = mallinfo2()
      return MemoryUse(resident: resident, used: Int(counts.uordblks) + Int(counts.hblkhd))
    }

    static func giveBack() { malloc_trim(0) }
  #else
    static let now: MemoryUse? = nil
    static func giveBack() {}
  #endif
}
