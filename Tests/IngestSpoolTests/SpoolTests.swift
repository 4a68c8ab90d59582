// Accepted payloads survive any end of the process. A limit rejects the next payload, and drops none that was accepted.

import Foundation
import Hiredis
import IngestQueue
import Logging
import NIOCore
import RedisClient
import RedisFixture
import Synchronization
import Testing

@testable import IngestSpool

struct SpoolTests {
  @Test func `what was taken is there, byte for byte and in order, when the next process opens it`() async throws {
    let bench = try SpoolBench()
    let first = try bench.open()
    try await first.append(0..<20) { $0 * 1_000 }
    #expect(try await first.close() == 20)
    let second = try bench.open()
    #expect(second.figures.entries == 20)
    #expect(second.figures.bytes == (0..<20).reduce(0) { $0 + Sample.size($1, bytes: $1 * 1_000) })
    let payloads = try await second.payloads()
    #expect(payloads.map(\.header) == (0..<20).map { Sample.header($0) })
    #expect(
      payloads.map { Array($0.payload) }
        == (0..<20).map { Array(Sample.payload($0, bytes: $0 * 1_000).readableBytesView) })
    _ = try await second.close()
  }

  @Test func `what comes at once is committed in few transactions`() async throws {
    let bench = try SpoolBench()
    let spool = try bench.open { $0.entriesPerCommit = 100 }
    let changes = try Self.changeCounter(bench.file)
    let futures = (0..<1_000).map {
      spool.append(Sample.header($0), payload: Sample.payload($0), on: Sample.loop)
    }
    for future in futures { try await future.get() }
    #expect(spool.figures.entries == 1_000 && spool.figures.taken == 1_000)
    let transactions = try Self.changeCounter(bench.file) - changes
    // The first may have gone alone, and each may have begun before the next hundred were there.
    #expect(transactions >= 10 && transactions < 500, "\(transactions)")
    _ = try await spool.close()
  }

  /// SQLite counts the transactions of a file at its 24th byte.
  private static func changeCounter(_ path: String) throws -> Int {
    let bytes = try Data(contentsOf: URL(fileURLWithPath: path))
    return bytes[24..<28].reduce(0) { $0 << 8 | Int($1) }
  }

  @Test func `beyond its bytes it takes nothing, and what is drained makes room`() async throws {
    let bench = try SpoolBench()
    let size = Sample.size(1)
    let spool = try bench.open { $0.bytes = 3 * size }
    for number in 1...3 { try await spool.append(number) }
    #expect(await spool.refusal(4) == .full(bytes: 3 * size))
    #expect(spool.figures.objection == .full(bytes: 3 * size) && spool.figures.entries == 3)
    try await spool.remove(try await spool.next(entries: 1))
    #expect(spool.figures.objection == nil && spool.figures.bytes == 2 * size)
    try await spool.append(4)
    #expect(try await spool.payloads().map(\.header) == [2, 3, 4].map { Sample.header($0) })
    #expect(try await spool.close() == 3)
    // The next process counts what is there.
    let next = try bench.open { $0.bytes = 3 * size }
    #expect(await next.refusal(5) == .full(bytes: 3 * size))
    _ = try await next.close()
  }

  @Test func `the last fifth is for accounts that have little in it`() async throws {
    let bench = try SpoolBench()
    let size = Sample.size(1)
    let spool = try bench.open { $0.bytes = 100 * size }
    func take(_ number: Int, of account: String) async throws -> SpoolFailure? {
      do {
        try await spool.append(Sample.header(number), payload: Sample.payload(number), of: account, on: Sample.loop)
          .get()
        return nil
      } catch let failure as SpoolFailure {
        return failure
      }
    }
    var taken = 0
    while try await take(1, of: "greedy") == nil, taken < 200 { taken += 1 }
    #expect(taken == 80)
    #expect(try await take(1, of: "greedy") == .accountFull)
    #expect(spool.figures.objection == nil, "the spool itself isn't in trouble")
    for _ in 0..<12 { #expect(try await take(2, of: "other") == nil) }
    // Once it was empty everybody begins anew.
    while true {
      let payloads = try await spool.next(entries: 100)
      if payloads.isEmpty { break }
      try await spool.remove(payloads)
    }
    #expect(try await take(1, of: "greedy") == nil)
    _ = try await spool.close()
  }

  @Test func `beyond its age it takes nothing and drops nothing`() async throws {
    let bench = try SpoolBench()
    let spool = try bench.open { $0.age = .seconds(100) }
    try await spool.append(1)
    bench.pass(.seconds(60))
    try await spool.append(2)
    bench.pass(.seconds(40))
    try await spool.append(3)
    #expect(spool.figures.oldestSeconds == 100)
    bench.pass(.seconds(1))
    #expect(await spool.refusal(4) == .tooOld(limit: .seconds(100)))
    #expect(spool.figures.entries == 3 && spool.figures.objection != nil)
    #expect(try await spool.close() == 3)
    let next = try bench.open { $0.age = .seconds(100) }
    #expect(await next.refusal(4) == .tooOld(limit: .seconds(100)), "it doesn't become young by a restart")
    #expect(try await next.payloads().count == 3)
    // Without the oldest the next one is.
    try await next.remove(try await next.next(entries: 1))
    try await next.append(4)
    #expect(next.figures.oldestSeconds == 41)
    _ = try await next.close()
  }

  /// A clock that blocks the spool's thread. It is read first by the caller that adds a payload, and then by the
  /// thread.
  private final class Brake: Sendable {
    private let reads = Mutex(0)
    private let held = DispatchSemaphore(value: 0)

    func read() -> Int64 {
      let number = reads.withLock { reads in
        reads += 1
        return reads
      }
      if number == 2 { held.wait() }
      return 1
    }

    var isHolding: Bool { reads.withLock { $0 >= 2 } }
    func release() { held.signal() }
  }

  @Test func `a payload waits for the disk so long and no longer, and so many and no more wait`() async throws {
    let bench = try SpoolBench()
    let brake = Brake()
    var limits = SpoolLimits()
    limits.deadline = .milliseconds(50)
    limits.waitingEntries = 3
    let spool = try Spool(
      folder: bench.path, limits: limits, logger: .init(label: "spool"), now: { brake.read() })
    let first = spool.append(Sample.header(1), payload: Sample.payload(1), on: Sample.loop)
    try await eventually("the thread is held") { brake.isHolding }
    let others = (2...4).map { spool.append(Sample.header($0), payload: Sample.payload($0), on: Sample.loop) }
    #expect(await spool.refusal(5) == .busy)
    for future in [first] + others { await #expect(throws: SpoolFailure.late) { try await future.get() } }
    #expect(spool.figures.entries == 0)
    brake.release()
    // They are in it all the same, which is why their clients weren't told that they aren't.
    try await eventually("the disk is done") { spool.figures.entries == 4 }
    #expect(try await spool.close() == 4)
  }

  @Test func `closing waits for the disk so long and no longer, and loses nothing`() async throws {
    let bench = try SpoolBench()
    let brake = Brake()
    var limits = SpoolLimits()
    limits.deadline = .seconds(30)
    limits.closeDeadline = .milliseconds(50)
    let spool = try Spool(
      folder: bench.path, limits: limits, logger: .init(label: "spool"), now: { brake.read() })
    let taken = spool.append(Sample.header(1), payload: Sample.payload(1), on: Sample.loop)
    try await eventually("the thread is held") { brake.isHolding }
    await #expect(throws: SpoolFailure.late) { try await spool.close() }
    #expect(throws: UnusableSpool.self) { try bench.open() }
    brake.release()
    try await taken.get()
    var next: Spool?
    try await eventually("the folder is let go of") {
      next = try bench.open()
      return true
    }
    #expect(try await next?.close() == 1)
  }

  @Test func `once it is closed it takes nothing, and all that was taken is there`() async throws {
    let bench = try SpoolBench()
    let spool = try bench.open()
    let futures = (0..<100).map { spool.append(Sample.header($0), payload: Sample.payload($0), on: Sample.loop) }
    #expect(try await spool.close() == 100)
    for future in futures { try await future.get() }
    #expect(await spool.refusal() == .closed)
    let next = try bench.open()
    #expect(next.figures.entries == 100)
    _ = try await next.close()
  }

  @Test func `its files are for its own user alone`() async throws {
    let bench = try SpoolBench()
    let spool = try bench.open()
    try await spool.append(1)
    let names = try FileManager.default.contentsOfDirectory(atPath: bench.path)
    #expect(Set(names) == ["lock", "spool.sqlite", "spool.sqlite-journal"])
    for path in [bench.path] + names.map({ "\(bench.path)/\($0)" }) {
      let mode = try #require(
        FileManager.default.attributesOfItem(atPath: path)[.posixPermissions] as? NSNumber
      ).intValue
      #expect(mode & 0o077 == 0, "\(path)")
    }
    _ = try await spool.close()
  }

  @Test func `for the spool is what Redis can't take, and not what is too much`() {
    let lost = RedisError(.closed("test"), outcome: .unknown)
    let sent: [EnqueueError] = [
      .away(lost), .unknownOutcome(lost),
      .refused(RedisServerError(message: "LOADING Redis is loading the dataset in memory")),
      .refused(RedisServerError(message: "READONLY You can't write against a read only replica.")),
      .refused(RedisServerError(message: "MASTERDOWN Link with MASTER is down")),
      .refused(RedisServerError(message: "CLUSTERDOWN The cluster is down")),
      .refused(RedisServerError(message: "MISCONF Errors writing to the AOF file: No space left on device")),
    ]
    for failure in sent { #expect(failure.isForSpool, "\(failure)") }
    let kept: [EnqueueError] = [
      .full(.entries(1)), .full(.bytes(1)), .overLimit(retryAfter: 1), .durabilityLost("appendonly is no"),
      .unconfirmed(replicas: 0, required: 1), .tooLarge(bytes: 2, limit: 1), .shuttingDown,
      .refused(RedisServerError(message: "OOM command not allowed when used memory > 'maxmemory'.")),
      .refused(RedisServerError(message: "NOPERM this user has no permissions")),
    ]
    for failure in kept { #expect(!failure.isForSpool, "\(failure)") }
  }
}
