// A spool that can't be used says so when the node starts, and is left as it is: there may be acknowledged payloads in it.

import Foundation
import GRDB
import RedisFixture
import Testing

@testable import IngestSpool

struct UnusableSpoolTests {
  /// Why it can't be opened.
  private func objection(_ bench: SpoolBench) -> String {
    do {
      _ = try bench.open()
      return "it was opened"
    } catch {
      return "\(error)"
    }
  }

  private func filled(_ bench: SpoolBench, bytes: Int = 5_000) async throws {
    let spool = try bench.open()
    try await spool.append(0..<200) { _ in bytes }
    #expect(try await spool.close() == 200)
  }

  @Test func `two processes can't have one folder, and the second is told who has it`() async throws {
    let bench = try SpoolBench()
    let spool = try bench.open()
    #expect(objection(bench).contains("process \(getpid()) uses this spool"))
    try await spool.append(1)
    #expect(try await spool.close() == 1)
    let next = try bench.open()
    #expect(try await next.close() == 1)
  }

  @Test func `a damaged file is said to be damaged, and is left as it is`() async throws {
    let bench = try SpoolBench()
    try await filled(bench)
    var bytes = try Data(contentsOf: URL(fileURLWithPath: bench.file))
    // Pages all over the file; the first stays, or it is no database at all.
    for page in stride(from: 100, to: bytes.count / 4_096, by: 10) {
      for place in 0..<4_096 { bytes[page * 4_096 + place] = UInt8(truncatingIfNeeded: place &* 37) }
    }
    try bytes.write(to: URL(fileURLWithPath: bench.file))
    let words = objection(bench)
    #expect(words.contains("is damaged") && words.contains(bench.file) && words.contains(".recover"), "\(words)")
    #expect(try Data(contentsOf: URL(fileURLWithPath: bench.file)) == bytes)
    #expect(objection(bench).contains("is damaged"), "the lock is let go of, and it is no other thing next time")
  }

  @Test func `what isn't a database is said to be none`() async throws {
    let bench = try SpoolBench()
    try FileManager.default.createDirectory(atPath: bench.path, withIntermediateDirectories: true)
    let bytes = Data(repeating: 0x61, count: 10_000)
    try bytes.write(to: URL(fileURLWithPath: bench.file))
    #expect(objection(bench).contains("is damaged") && objection(bench).contains("not a database"))
    #expect(try Data(contentsOf: URL(fileURLWithPath: bench.file)) == bytes)
  }

  @Test func `a newer build's file isn't touched`() async throws {
    let bench = try SpoolBench()
    try await filled(bench)
    let database = try DatabaseQueue(path: bench.file)
    try await database.write { try $0.execute(sql: "PRAGMA user_version = 2") }
    try database.close()
    #expect(objection(bench).contains("a newer build"))
  }

  @Test func `a folder that can't be made is said`() async throws {
    let bench = try SpoolBench()
    try Data().write(to: bench.folder.url("spool"))
    #expect(objection(bench).contains("could not make the folder"))
  }

  @Test func `damage that shows later stops it, and nothing is taken on top of it`() async throws {
    let bench = try SpoolBench()
    // More than SQLite keeps in memory.
    try await filled(bench, bytes: 100_000)
    let spool = try bench.open()
    let handle = try FileHandle(forUpdating: URL(fileURLWithPath: bench.file))
    let pages = try handle.seekToEnd() / 4_096
    for page in 80..<pages {
      try handle.seek(toOffset: page * 4_096)
      try handle.write(contentsOf: Data(repeating: 0xA5, count: 4_096))
    }
    try handle.close()
    await #expect(throws: SpoolFailure.self) { _ = try await spool.payloads() }
    guard case .damaged = spool.figures.objection else {
      Issue.record("\(String(describing: spool.figures.objection))")
      return
    }
    guard case .damaged? = await spool.refusal() else {
      Issue.record("another payload was taken")
      return
    }
  }
}
