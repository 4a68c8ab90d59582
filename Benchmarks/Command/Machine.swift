// The machine's clocks and counters, as far as benchmarks read them.

import CMalloc
import Foundation

enum Machine {
  static var description: String {
    let cpu = (try? String(contentsOfFile: "/proc/cpuinfo", encoding: .utf8))?.split(separator: "\n")
      .first { $0.hasPrefix("model name") }?.split(separator: ":").last?.trimmingCharacters(in: .whitespaces)
    return "\(cpu ?? "an unknown processor"), \(ProcessInfo.processInfo.activeProcessorCount) cores"
  }

  /// Nanoseconds on the clock that never goes back.
  static func now() -> Int64 { read(CLOCK_MONOTONIC) }

  /// Nanoseconds that this thread has had a processor: what a busy neighbour takes away doesn't count.
  static func threadTime() -> Int64 { read(CLOCK_THREAD_CPUTIME_ID) }

  /// Nanoseconds that this process has had processors, all its threads together.
  static func processTime() -> Int64 { read(CLOCK_PROCESS_CPUTIME_ID) }

  /// Nanoseconds that another process has had processors, all its threads together.
  static func processTime(of pid: pid_t) throws -> Int64 {
    var clock = clockid_t()
    let failure = clock_getcpuclockid(pid, &clock)
    guard failure == 0 else {
      throw CannotMeasure("can't read the processor time of process \(pid): \(String(cString: strerror(failure)))")
    }
    return read(clock)
  }

  private static func read(_ clock: clockid_t) -> Int64 {
    var time = timespec()
    clock_gettime(clock, &time)
    return Int64(time.tv_sec) * 1_000_000_000 + Int64(time.tv_nsec)
  }

  /// Bytes that have been allocated and not freed, as the allocator counts them: its own rounding included.
  static func allocatedBytes() -> Int {
    let info = mallinfo2()
    return Int(info.uordblks) + Int(info.hblkhd)
  }

  /// Gives what is free back to the system.
  static func trimAllocator() { malloc_trim(0) }

  /// Bytes of this process that are in memory.
  static func residentBytes() throws -> Int {
    let fields = try String(contentsOfFile: "/proc/self/statm", encoding: .utf8).split(separator: " ")
    return (fields.count > 1 ? Int(fields[1]) ?? 0 : 0) * Int(getpagesize())
  }
}
