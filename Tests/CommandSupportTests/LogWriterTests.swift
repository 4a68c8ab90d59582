import Foundation
import RedisFixture
import Synchronization
import Testing

@testable import CommandSupport

@Suite struct LogWriterTests {
  private static func pipe() throws -> (read: FileHandle, write: Int32) {
    var ends: [Int32] = [0, 0]
    guard Foundation.pipe(&ends) == 0 else { throw NeverHappened(description: "no pipe") }
    return (FileHandle(fileDescriptor: ends[0], closeOnDealloc: true), ends[1])
  }

  @Test func `lines that nobody reads keep nobody waiting, and are counted`() async throws {
    let (read, write) = try Self.pipe()
    let writer = LogWriter(to: write)
    let line = String(repeating: "a", count: 1_023) + "\n"
    // Three times of what may wait: in a pipe that isn't read this would never return.
    for _ in 0..<3 * LogWriter.maxWaiting / line.utf8.count { writer.write(line) }
    let began = ContinuousClock.now
    writer.flush(within: .milliseconds(10))
    #expect(ContinuousClock.now - began < .seconds(5))

    let text = Mutex("")
    Thread {
      while case let data = read.availableData, !data.isEmpty {
        text.withLock { $0 += String(decoding: data, as: UTF8.self) }
      }
    }.start()
    try await eventually("the last line says how many were dropped") {
      text.withLock { $0.contains("were dropped here") }
    }
    writer.write("the end\n")
    try await eventually("and the log goes on") { text.withLock { $0.hasSuffix("the end\n") } }
    let lines = text.withLock { $0.split(separator: "\n") }
    let dropped = try #require(lines.compactMap { $0.firstMatch(of: /^(\d+) log lines were dropped/) }.first)
    let whole = lines.count { $0.utf8.count == 1_023 }
    #expect(Int(dropped.1) == 3 * LogWriter.maxWaiting / line.utf8.count - whole)
  }

  /// The signal would end this test process.
  @Test func `lines that can't be read any more raise no signal, and keep nobody waiting`() throws {
    let (read, write) = try Self.pipe()
    try read.close()
    let writer = LogWriter(to: write)
    for number in 0..<3 {
      writer.write("line \(number)\n")
      let began = ContinuousClock.now
      writer.flush(within: .seconds(20))
      #expect(ContinuousClock.now - began < .seconds(10))
    }
  }

  @Test func `flushing waits for what is being written`() throws {
    let (read, write) = try Self.pipe()
    let writer = LogWriter(to: write)
    for number in 0..<100 { writer.write("line \(number)\n") }
    writer.flush(within: .seconds(20))
    let data = read.availableData
    #expect(String(decoding: data, as: UTF8.self).split(separator: "\n").count == 100)
  }
}
