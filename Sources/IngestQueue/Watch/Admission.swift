// Decides whether a shard accepts payloads, from readings of how full it is: no I/O and no clock.
//
// There are two marks: a shard shuts at a high-water mark, and opens below all low-water marks. With one mark it would
// open and shut at each reading, and each time accept all payloads that clients had kept back. It shuts before Redis
// itself is full, because Redis at `maxmemory` rejects more than pushes: the key store, which is in the same Redis by
// default, couldn't be written to.
//
// A shard also opens if its queue is empty and Redis's memory is below the high mark: then other data uses the memory,
// and draining can't lower it.

public import NIOCore

/// Limits for the content of a shard. Each is a level at which the shard shuts.
public struct QueueLimits: Sendable, Equatable {
  /// Maximum envelopes that wait in one shard.
  public var entries: Int
  /// Maximum bytes of those envelopes, as ``QueueReading/bytes`` counts them.
  public var bytes: Int
  /// Percentage of Redis's `maxmemory`; without effect if Redis has no such limit.
  public var memoryPercent: Int
  /// Percentage of each of these limits below which the shard opens again.
  public var lowWaterPercent: Int

  /// Percentage of Redis's `maxmemory` that always stays free, because the key store is in the same Redis by default.
  static let keptMemoryPercent = 5
  /// Percentage of Redis's `maxmemory` that dead letters may use in addition to ``memoryPercent``.
  static let deadLetterMemoryPercent = 10

  public init(entries: Int = 1_000_000, bytes: Int = 1 << 30, memoryPercent: Int = 80, lowWaterPercent: Int = 90) {
    self.entries = entries
    self.bytes = bytes
    self.memoryPercent = memoryPercent
    self.lowWaterPercent = lowWaterPercent
  }
}

/// Decides whether one shard accepts payloads: it shuts at a high-water mark, and opens below all low-water marks.
public struct Admission: Sendable, Equatable {
  /// The limits that can shut a shard.
  public enum Measure: String, Sendable, Equatable, CaseIterable {
    case entries, bytes, memory
  }

  private let limits: QueueLimits
  /// The limit that shut it; nil while it is open.
  public private(set) var shutFor: Measure?
  /// Envelopes per second that leave the queue, averaged over about the last ten seconds; nil before the second
  /// reading.
  public private(set) var drainPerSecond: Double?
  private var reading: QueueReading?
  private var lastDone: (count: Int64, at: NIODeadline)?
  /// The accounts with too many dead letters.
  public private(set) var deadLetters = AccountQuota.deadLetters
  /// The accounts with too many bytes that wait for a retry.
  public private(set) var retries = AccountQuota.retries

  public init(limits: QueueLimits) { self.limits = limits }

  public static func == (one: Admission, other: Admission) -> Bool {
    one.limits == other.limits && one.shutFor == other.shutFor && one.drainPerSecond == other.drainPerSecond
      && one.reading == other.reading && one.deadLetters == other.deadLetters
      && one.retries == other.retries
  }

  /// Applies a reading.
  /// - Parameter reachedHigh: Whether an event loop saw the high-water mark reached since the last reading.
  public mutating func read(_ reading: QueueReading, at time: NIODeadline, reachedHigh: Bool = false) {
    self.reading = reading
    measureDrain(reading.done, at: time)
    let levels = levels(reading)
    deadLetters.read(reading.deadBytes, left: roomBesideDeadLetters(reading))
    if let room { retries.read(reading.retries, left: min(room.bytes, room.memory ?? room.bytes)) }
    if let over = levels.first(where: { $0.level >= $0.high }) {
      shutFor = over.measure
    } else if levels.allSatisfy({ $0.level < $0.low }) || reading.entries == 0 {
      shutFor = nil
    } else if reachedHigh, shutFor == nil {
      shutFor = levels.max { $0.level / $0.high < $1.level / $1.high }?.measure
    }
  }

  private struct Level {
    var measure: Measure
    var level: Double
    var high: Double
    var low: Double
  }

  private func levels(_ reading: QueueReading) -> [Level] {
    func level(_ measure: Measure, _ level: Int64, high: Double) -> Level {
      Level(measure: measure, level: Double(level), high: high, low: high * Double(limits.lowWaterPercent) / 100)
    }
    var levels = [
      level(.entries, reading.entries, high: Double(limits.entries)),
      level(.bytes, reading.bytes, high: Double(limits.bytes)),
    ]
    if let memory = reading.memory, reading.memoryLimit > 0 {
      levels.append(
        level(
          .memory, memory - memoryOfDeadLetters(reading),
          high: Double(reading.memoryLimit) * Double(limits.memoryPercent) / 100))
    }
    return levels
  }

  /// The memory of dead letters that doesn't count for the high-water mark.
  ///
  /// Only operators remove dead letters. The pushes of an account whose payloads all become dead letters aren't
  /// accepted, but only after the reading that shows the dead letters. Without this allowance, the payloads that the
  /// account had in the queue by then could keep the shard shut for everybody.
  private func memoryOfDeadLetters(_ reading: QueueReading) -> Int64 {
    let free = 100 - QueueLimits.keptMemoryPercent - limits.memoryPercent
    let percent = max(0, min(QueueLimits.deadLetterMemoryPercent, free))
    return min(reading.deadBytes.all, reading.memoryLimit / 100 * Int64(percent))
  }

  /// The weight of a new figure is `1 - e^(-t / 10 s)`, so that the average doesn't depend on the number of readings.
  private mutating func measureDrain(_ done: Int64, at time: NIODeadline) {
    defer { lastDone = (done, time) }
    // If the count decreased, the queue was replaced by another one.
    guard let last = lastDone, time > last.at, done >= last.count else {
      drainPerSecond = nil
      return
    }
    let seconds = Double((time - last.at).nanoseconds) / 1e9
    let rate = Double(done - last.count) / seconds
    // Two terms of e^x are enough for a weight.
    let weight = min(1, seconds / (10 + seconds / 2))
    drainPerSecond = drainPerSecond.map { $0 + weight * (rate - $0) } ?? rate
  }

  /// What is left up to the high-water mark: entries, bytes of payloads, and bytes of Redis's memory, which is nil if
  /// Redis has no limit or doesn't report one. nil before the first reading.
  public var room: (entries: Int64, bytes: Int64, memory: Int64?)? {
    guard let reading else { return nil }
    let left = levels(reading).map { Int64(($0.high - $0.level).rounded(.down)) }
    return (left[0], left[1], left.dropFirst(2).first)
  }

  /// Bytes that Redis may still use before its own limit, less a twentieth that is kept for the key store. nil if Redis
  /// has no limit or doesn't report one, or before the first reading.
  var memoryLeft: Int64? {
    guard let reading, let memory = reading.memory, reading.memoryLimit > 0 else { return nil }
    return max(0, reading.memoryLimit / 100 * Int64(100 - QueueLimits.keptMemoryPercent) - memory)
  }

  /// Maximum bytes of payloads in addition to the present dead letters.
  private func roomBesideDeadLetters(_ reading: QueueReading) -> Int64 {
    let limited = Int64(limits.bytes) - reading.deadBytes.all
    guard let memory = reading.memory, reading.memoryLimit > 0 else { return limited }
    // Dead letters are in Redis's memory already.
    let free = Int64(Double(reading.memoryLimit) * Double(limits.memoryPercent) / 100) - memory
    return min(limited, reading.bytes + free)
  }

  /// The part of that room that is reserved for accounts that don't send much or don't hold much: a fifth of the
  /// queue's maximum. nil before the first reading.
  ///
  /// The pushes of an account that fills the queue faster than workers empty it are rejected at four fifths, and all
  /// other accounts are still accepted. Four fifths are below the mark at which a shut shard opens again, unless an
  /// operator has set a lower low-water mark.
  public var reserve: (entries: Int64, bytes: Int64, memory: Int64)? {
    guard let reading, let room else { return nil }
    // The queue may use the memory that other data leaves, and dead letters are part of that data.
    return (
      Self.reserve(of: max(0, reading.entries + room.entries)), Self.reserve(of: max(0, reading.bytes + room.bytes)),
      room.memory.map { Self.reserve(of: max(0, reading.bytes + $0)) } ?? 0
    )
  }

  static func reserve(of whole: Int64) -> Int64 { whole / 5 }

  /// Half of the queue's maximum, calculated from this reserve, which is a fifth of it.
  static func half(fromReserve reserve: Int64) -> Int64 { reserve / 2 * 5 }

  /// The longest Retry-After, in seconds.
  public static let longestWait = 60.0
  private static let spread = 1.25

  /// The seconds until the shard should open again, from 1 to ``longestWait``: the excess divided by the rate at which
  /// it drains. The longest wait if nothing drains.
  /// - Parameter generator: Adds up to a quarter at random, so that clients don't all return at the same time.
  public func retryAfter(using generator: inout some RandomNumberGenerator) -> Int {
    let base = min(max(secondsToDrain, 1), Self.longestWait / Self.spread)
    return Int(Double.random(in: base...(base * Self.spread), using: &generator).rounded())
  }

  /// The seconds to wait if only an operator can help: the longest wait, randomised.
  static func retryAfterHelp(using generator: inout some RandomNumberGenerator) -> Int {
    Int(Double.random(in: longestWait / spread...longestWait, using: &generator).rounded())
  }

  private var secondsToDrain: Double {
    guard let reading, let rate = drainPerSecond, rate > 0 else { return Self.longestWait }
    // Each limit in entries of the present average size.
    let entrySize = max(1, Double(reading.bytes) / Double(max(1, reading.entries)))
    func seconds(_ excess: Double, _ measure: Measure) -> Double {
      max(0, excess) / (measure == .entries ? 1 : entrySize) / rate
    }
    let levels = levels(reading)
    if shutFor != nil { return levels.map { seconds($0.level - $0.low, $0.measure) }.max() ?? 0 }
    // An event loop has reached a mark since the reading, most likely the nearest one.
    return levels.max { $0.level / $0.high < $1.level / $1.high }.map { seconds($0.high - $0.low, $0.measure) } ?? 0
  }
}
