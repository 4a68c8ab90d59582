// Gives memory back to the system that the allocator keeps after a peak.
//
// glibc keeps freed memory for as long as something that lies behind it is in use. After a moment with five thousand
// busy connections a node held half a gigabyte in which nothing was, and held it for good; a container's limit counts
// all of it.
//
// Rejected: glibc's own threshold for trimming, which is about the end of each heap only. Another allocator: a
// dependency for all to solve what one call does.

internal import CMalloc
internal import Foundation
public import Logging
public import ServiceLifecycle

/// Looks now and then how much memory is resident without being in use, and gives it back to the system.
public struct FreedMemory: Service {
  private static let interval = Duration.seconds(10)

  private let logger: Logger

  /// - Parameter logger: Told how much was given back.
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

  /// Gives memory back where a peak is over.
  static func look(_ peak: inout Peak, _ logger: Logger) {
    guard let before = MemoryUse.now, peak.isOver(before) else { return }
    MemoryUse.giveBack()
    guard let after = MemoryUse.now else { return }
    logger.info(
      "freed memory returned to the system",
      metadata: ["resident_before": "\(before.resident)", "resident_after": "\(after.resident)"])
  }
}

/// Tells when it is worth while to give memory back: it is much, and it wasn't needed since the last look. To give it
/// back takes some tens of milliseconds for each hundred megabytes, in which threads that allocate wait.
struct Peak {
  /// With less nothing is won.
  static let worthwhile = 64 << 20

  private var wasUnused = false

  /// - Returns: Whether memory is to be given back.
  mutating func isOver(_ use: MemoryUse) -> Bool {
    let isUnused = use.unused >= max(Self.worthwhile, use.used / 2)
    defer { wasUnused = isUnused && !wasUnused }
    return isUnused && wasUnused
  }
}

/// The process's memory, in bytes.
struct MemoryUse {
  /// Of the process alone, and in memory.
  var resident: Int
  /// Allocated and not freed.
  var used: Int
  /// In memory for nothing.
  var unused: Int { resident - used }

  #if canImport(Glibc)
    /// nil where the system doesn't say.
    static var now: MemoryUse? {
      guard let text = try? String(contentsOfFile: "/proc/self/statm", encoding: .utf8) else { return nil }
      let pages = text.split(separator: " ").compactMap { Int($0) }
      guard pages.count > 2 else { return nil }
      let resident = (pages[1] - pages[2]) * sysconf(CInt(_SC_PAGESIZE))
      // Counting goes through all that is free, and is left out where there can't be much.
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
