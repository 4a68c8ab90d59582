import NIOCore
import RedisFixture
import Testing

@testable import IngestQueue

struct AdmissionTests {
  private let limits = QueueLimits(entries: 1_000, bytes: 100_000, memoryPercent: 80, lowWaterPercent: 50)

  private func time(_ seconds: Double) -> NIODeadline { .uptimeNanoseconds(UInt64(1_000_000_000 * (100 + seconds))) }

  private func reading(
    _ entries: Int64, bytes: Int64 = 0, memory: Int64 = 0, of limit: Int64 = 0, done: Int64 = 0
  ) -> QueueReading {
    // Spread over lists and what waits for another try: what counts is the sum.
    QueueReading(
      lengths: [entries / 2] + Array(repeating: 0, count: 16), later: entries - entries / 2, bytes: bytes,
      memory: memory, memoryLimit: limit, done: done)
  }

  @Test func `before there is a reading it is open, and nothing is known`() {
    let gate = Admission(limits: limits)
    #expect(gate.shutFor == nil)
    #expect(gate.room == nil)
    #expect(gate.drainPerSecond == nil)
  }

  @Test func `it shuts at the high mark, and opens under the low one and not before`() {
    var gate = Admission(limits: limits)
    for (entries, isShut) in [
      (0, false), (999, false), (1_000, true), (999, true), (501, true), (500, true), (499, false), (999, false),
      (5_000, true), (0, false),
    ] as [(Int64, Bool)] {
      gate.read(reading(entries), at: time(0))
      #expect((gate.shutFor == .entries) == isShut, "at \(entries)")
    }
  }

  @Test func `each measure shuts it, and all have to be under their low marks to open it`() {
    var gate = Admission(limits: limits)
    gate.read(reading(1, bytes: 100_000), at: time(0))
    #expect(gate.shutFor == .bytes)
    gate.read(reading(1, memory: 800, of: 1_000), at: time(1))
    #expect(gate.shutFor == .memory)
    gate.read(reading(1_000), at: time(2))
    #expect(gate.shutFor == .entries)
    gate.read(reading(1, bytes: 50_000, memory: 1, of: 1_000), at: time(3))
    #expect(gate.shutFor != nil)
    gate.read(reading(1, bytes: 49_999, memory: 400, of: 1_000), at: time(4))
    #expect(gate.shutFor != nil)
    gate.read(reading(1, bytes: 49_999, memory: 399, of: 1_000), at: time(5))
    #expect(gate.shutFor == nil)
  }

  @Test func `a Redis without a memory limit has no mark for it`() {
    var gate = Admission(limits: limits)
    gate.read(reading(0, memory: .max / 4), at: time(0))
    #expect(gate.shutFor == nil)
  }

  @Test func `with an empty queue nothing can drain any more, so memory between the marks doesn't keep it shut`() {
    var gate = Admission(limits: limits)
    gate.read(reading(10, memory: 800, of: 1_000), at: time(0))
    gate.read(reading(1, memory: 700, of: 1_000), at: time(1))
    #expect(gate.shutFor == .memory)
    gate.read(reading(0, memory: 800, of: 1_000), at: time(2))
    #expect(gate.shutFor == .memory)
    gate.read(reading(0, memory: 700, of: 1_000), at: time(3))
    #expect(gate.shutFor == nil)
  }

  @Test func `a high mark that was reached between two readings shuts it, unless all has drained since`() {
    var gate = Admission(limits: limits)
    gate.read(reading(900), at: time(0), reachedHigh: true)
    #expect(gate.shutFor == .entries)
    gate = Admission(limits: limits)
    gate.read(reading(499), at: time(0), reachedHigh: true)
    #expect(gate.shutFor == nil)
  }

  @Test func `the room is what may come until each of the high marks`() throws {
    var gate = Admission(limits: limits)
    gate.read(reading(400, bytes: 30_000, memory: 790, of: 1_000), at: time(0))
    let room = try #require(gate.room)
    #expect(room == (600, 70_000, 10))
    gate.read(reading(1_200, bytes: 30_000), at: time(0))
    let after = try #require(gate.room)
    #expect(after == (-200, 70_000, nil))
  }

  @Test func `the drain rate follows what is done, over some ten seconds`() throws {
    var gate = Admission(limits: limits)
    var done: Int64 = 5_000
    gate.read(reading(600, done: done), at: time(0))
    #expect(gate.drainPerSecond == nil)
    for second in 1...30 {
      done += 100
      gate.read(reading(600, done: done), at: time(Double(second)))
    }
    #expect(abs(try #require(gate.drainPerSecond) - 100) < 0.001)
    for second in 31...40 { gate.read(reading(600, done: done), at: time(Double(second))) }
    let after = try #require(gate.drainPerSecond)
    // Ten seconds of nothing: about e^-1 of it is left.
    #expect((30...45).contains(after), "\(after)")
    // A count that went back is that of another history.
    gate.read(reading(600, done: 3), at: time(41))
    #expect(gate.drainPerSecond == nil)
  }

  /// All that can be drawn.
  private func waits(_ gate: Admission) -> ClosedRange<Int> {
    var generator = SeededGenerator.announced()
    let drawn = (0..<1_000).map { _ in gate.retryAfter(using: &generator) }
    return drawn.min()!...drawn.max()!
  }

  @Test func `the wait is what has to leave by the rate at which it leaves, spread over up to a quarter more`() {
    var gate = Admission(limits: limits)
    gate.read(reading(1_000, done: 0), at: time(0))
    gate.read(reading(1_000, done: 25), at: time(1))
    // 500 entries at 25 a second.
    #expect(waits(gate) == 20...25)
  }

  @Test func `bytes and memory count in entries of the size that they have`() {
    var gate = Admission(limits: limits)
    gate.read(reading(100, bytes: 100_000, done: 0), at: time(0))
    gate.read(reading(100, bytes: 100_000, done: 5), at: time(1))
    // 50,000 bytes are 50 entries, at 5 a second.
    #expect(waits(gate) == 10...12)
    gate.read(reading(100, bytes: 10_000, memory: 9_000, of: 10_000, done: 10), at: time(2))
    // 5,000 bytes are 50 entries.
    #expect(waits(gate) == 10...12)
  }

  @Test func `the wait is from 1 to 60 s, and longest where nothing leaves`() {
    var gate = Admission(limits: limits)
    gate.read(reading(1_000), at: time(0))
    #expect(waits(gate) == 48...60, "no rate is known")
    gate.read(reading(1_000), at: time(1))
    #expect(waits(gate) == 48...60, "nothing leaves")
    gate.read(reading(1_000, done: 1_000_000), at: time(2))
    #expect(waits(gate) == 1...1)
  }

  @Test func `where the mark was reached after the reading, the wait is from there`() {
    var gate = Admission(limits: limits)
    gate.read(reading(600, done: 0), at: time(0))
    gate.read(reading(600, done: 50), at: time(1))
    #expect(gate.shutFor == nil)
    #expect(waits(gate) == 10...12)
  }
}
