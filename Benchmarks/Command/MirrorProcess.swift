// One mirror from nothing to complete, in a process of its own as in a node: its heap is as empty as a node's at its start, and what
// memory it takes is nobody else's. SyncBenchmark starts it, as it starts the C program beside it.

import Foundation
import KeyStore
import NIOCore
import NIOPosix
import RedisClient

enum MirrorProcess {
  /// What it prints: nanoseconds from connecting to complete, of the clock and of this process's processor time, and bytes of memory
  /// beyond what the process had before: at most, and in the end.
  struct Figures {
    var wall: Int64
    var processor: Int64
    var peak: Int64
    var settled: Int64
  }

  /// What the process does.
  static func run(port: Int, keys: Int) async throws {
    let group = MultiThreadedEventLoopGroup(numberOfThreads: 1)
    let resident = try Machine.residentBytes()
    let (began, beganProcessor) = (Machine.now(), Machine.processTime())
    let driver = ReplicaDriver.mirror(
      of: RedisEndpoint(address: .tcp(host: "127.0.0.1", port: port)), on: group.next())
    try await driver.completed(keys: keys)
    let (ended, endedProcessor) = (Machine.now(), Machine.processTime())
    let peak = try Machine.peakBytes(ofFamily: getpid())
    print(
      ended - began, endedProcessor - beganProcessor, peak - resident, try Machine.residentBytes() - resident)
    driver.stop()
    try await group.shutdownGracefully()
  }

  /// Runs it, as a process.
  static func measure(port: Int, keys: Int) async throws -> Figures {
    let words = ["--mirror", "\(port)", "--keys", "\(keys)"]
    let printed = try await Peers.run("bench", words, within: .seconds(180))
    let figures = printed.split { $0 == " " || $0 == "\n" }.compactMap { Int64($0) }
    guard figures.count == 4 else { throw CannotMeasure("the mirror printed \(figures.count) figures instead of 4") }
    return Figures(wall: figures[0], processor: figures[1], peak: figures[2], settled: figures[3])
  }
}
