// What running programs have used of the machine, read from the outside so that all are measured alike.

import Foundation

/// What a server's processes, and its Redis, have used up to a moment.
struct ProcessUse {
  var at: Int64
  /// Nanoseconds of processors: of the program and all its children, dead ones included; and of Redis.
  var program: Int64
  var redis: Int64

  static func now(program: pid_t, redis: pid_t) throws -> ProcessUse {
    ProcessUse(
      at: Machine.now(), program: try Machine.processTime(ofFamily: program),
      redis: try Machine.processTime(of: redis))
  }
}

/// What was done for each of many things: the difference of two moments.
struct Spending {
  var perSecond: Double
  var programMicroseconds: Double
  var redisMicroseconds: Double

  init(_ count: Int, from before: ProcessUse, to after: ProcessUse) throws {
    guard count > 0, after.at > before.at else { throw CannotMeasure("nothing happened between two moments") }
    perSecond = Double(count) / (Double(after.at - before.at) / 1e9)
    programMicroseconds = Double(after.program - before.program) / 1e3 / Double(count)
    redisMicroseconds = Double(after.redis - before.redis) / 1e3 / Double(count)
  }
}

extension Machine {
  /// Nanoseconds that a process and its children have had processors, those that have ended and were waited for included. In steps of 10 ms.
  static func processTime(ofFamily pid: pid_t) throws -> Int64 {
    let fields = try stat(of: pid)
    // User and system time, then the same of children that were waited for.
    let own = try fields[11...14].reduce(Int64(0)) { sum, field in
      guard let ticks = Int64(field) else { throw CannotMeasure("/proc/\(pid)/stat isn't as expected") }
      return sum + ticks
    }
    let nanoseconds = own * (1_000_000_000 / Int64(sysconf(Int32(_SC_CLK_TCK))))
    // One that ends just now is counted with its parent next time.
    return try children(of: pid).reduce(nanoseconds) { $0 + ((try? processTime(ofFamily: $1)) ?? 0) }
  }

  /// The most memory that a process and its living children have had, in bytes, each by itself.
  static func peakBytes(ofFamily pid: pid_t) throws -> Int {
    let status = try String(contentsOfFile: "/proc/\(pid)/status", encoding: .utf8)
    let line = status.split(separator: "\n").first { $0.hasPrefix("VmHWM:") }
    guard
      let kilobytes = line?.split(whereSeparator: { $0 == " " || $0 == "\t" }).dropFirst().first.flatMap({ Int($0) })
    else { throw CannotMeasure("/proc/\(pid)/status says nothing of VmHWM") }
    return try children(of: pid).reduce(kilobytes << 10) { $0 + ((try? peakBytes(ofFamily: $1)) ?? 0) }
  }

  /// Lets ``peakBytes(ofFamily:)`` begin anew, at what these processes have now.
  static func resetPeak(ofFamily pid: pid_t) throws {
    // 5 is the peak of what is in memory (proc(5), clear_refs).
    try Data("5".utf8).write(to: URL(fileURLWithPath: "/proc/\(pid)/clear_refs"))
    for child in try children(of: pid) { try? resetPeak(ofFamily: child) }
  }

  private static func children(of pid: pid_t) throws -> [pid_t] {
    // A child belongs to the thread that made it.
    try FileManager.default.contentsOfDirectory(atPath: "/proc/\(pid)/task").flatMap { thread in
      let children = (try? String(contentsOfFile: "/proc/\(pid)/task/\(thread)/children", encoding: .utf8)) ?? ""
      return children.split(separator: " ").compactMap { pid_t($0) }
    }
  }

  /// The fields after the process's name, which may hold anything: the state is the first.
  private static func stat(of pid: pid_t) throws -> [Substring] {
    let stat = try String(contentsOfFile: "/proc/\(pid)/stat", encoding: .utf8)
    guard let end = stat.lastIndex(of: ")") else { throw CannotMeasure("/proc/\(pid)/stat isn't as expected") }
    let fields = stat[stat.index(after: end)...].split(separator: " ")
    guard fields.count > 14 else { throw CannotMeasure("/proc/\(pid)/stat isn't as expected") }
    return fields
  }
}
