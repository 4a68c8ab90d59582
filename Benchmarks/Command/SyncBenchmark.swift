// How long a mirror takes from nothing to the whole store, verified and ready to refuse; beside a C program that reads the same
// bytes with hiredis and throws them away, and one that reads the same records with HSCAN from one hash, as one would without
// buckets. Ours also hashes every record and compares count and digest of each bucket and of the whole.

import Foundation
import KeyStore
import NIOCore
import NIOPosix
import RedisFixture

enum SyncBenchmark: Benchmark {
  static let name = "sync"
  static let summary = "a million keys from nothing to complete and verified, beside plain C reading the same bytes"

  static func run(rounds: Int) async throws -> Report {
    try await SyncRounds(keys: 1_000_000).run(name: name, rounds: rounds)
  }
}

enum LargeSyncBenchmark: Benchmark {
  static let name = "sync-large"
  static let summary = "the same with ten million keys: whether it grows in a line (takes some minutes and 4 GB)"

  static func run(rounds: Int) async throws -> Report {
    try await SyncRounds(keys: 10_000_000).run(name: name, rounds: rounds)
  }
}

private struct SyncRounds {
  let keys: Int
  private let hash = "one-hash"

  init(keys: Int) { self.keys = keys }

  func run(name: String, rounds: Int) async throws -> Report {
    let store = try await PublishedStore.make(keys: keys)
    try gatherInOneHash(store.redis)
    // Of its own thread, as in a node.
    let group = MultiThreadedEventLoopGroup(numberOfThreads: 1)
    var ours = Contender()
    var buckets = Contender()
    var scan = Contender()
    for _ in 0..<rounds {
      try await ours.add { try await mirror(store.redis, group) }
      try await buckets.add { try await peer(store.redis, ["buckets"]) }
      try await scan.add { try await peer(store.redis, ["hscan", hash]) }
    }
    var report = Report(name: name, rounds: rounds)
    var table = Report.Table(
      "\(keys) keys, from nothing to everything", unit: "ms",
      notes: [
        "ours: connecting, reading, verifying each bucket and the whole, ready to refuse",
        "theirs: from the first command to the last reply, nothing done with it",
        "processor: of the reader's process; Redis's own time apart",
      ])
    table.add("Sluice's mirror", columns(ours))
    table.add("C and hiredis, the same buckets", columns(buckets))
    table.add("C and hiredis, HSCAN of one hash", columns(scan))
    report.tables.append(table)
    var ratios = Report.Table("ratio of the clocks, round by round", unit: "")
    ratios.add("Sluice to C's buckets", ("ratio", Figure(zip(ours.wall, buckets.wall).map { $0 / $1 })))
    ratios.add("Sluice to C's HSCAN", ("ratio", Figure(zip(ours.wall, scan.wall).map { $0 / $1 })))
    report.tables.append(ratios)
    try await store.remove()
    try await group.shutdownGracefully()
    return report
  }

  /// What each round took, in milliseconds.
  private struct Contender {
    var wall: [Double] = []
    var processor: [Double] = []
    var redis: [Double] = []

    mutating func add(_ measure: () async throws -> (wall: Int64, processor: Int64, redis: Int64)) async throws {
      let took = try await measure()
      wall.append(Double(took.wall) / 1e6)
      processor.append(Double(took.processor) / 1e6)
      redis.append(Double(took.redis) / 1e6)
    }
  }

  private func columns(_ contender: Contender) -> [(String, Figure)] {
    [
      ("clock", Figure(contender.wall)), ("processor", Figure(contender.processor)),
      ("Redis's processor", Figure(contender.redis)),
    ]
  }

  /// The same records in one hash, without the buckets' summaries.
  private func gatherInOneHash(_ redis: RedisServer) throws {
    let connection = try BlockingRedis(BlockingSocket(port: redis.port))
    let script = """
      local all = redis.call('HGETALL', KEYS[1])
      local part = {}
      for i = 1, #all, 2 do
        if all[i] ~= 'summary' then
          part[#part + 1] = all[i]
          part[#part + 1] = all[i + 1]
        end
        if #part > 0 and (#part >= 4000 or i + 2 > #all) then
          redis.call('HSET', KEYS[2], unpack(part))
          part = {}
        end
      end
      return 'OK'
      """
    let layout = StoreLayout()
    for bucket in 0..<StoreLayout.bucketCount {
      let words = ["EVAL", script, "2", layout.bucket(bucket), hash].map { Array($0.utf8) }
      try connection.exchange(BlockingRedis.encoded(words), lines: 2)
    }
  }

  private func mirror(
    _ redis: RedisServer, _ group: MultiThreadedEventLoopGroup
  ) async throws -> (wall: Int64, processor: Int64, redis: Int64) {
    let redisBefore = try Machine.processTime(of: redis.pid!)
    let (began, beganProcessor) = (Machine.now(), Machine.processTime())
    let driver = ReplicaDriver.mirror(of: redis, on: group.next())
    try await driver.completed(keys: keys)
    let took = (Machine.now() - began, Machine.processTime() - beganProcessor)
    driver.stop()
    return (took.0, took.1, try Machine.processTime(of: redis.pid!) - redisBefore)
  }

  private func peer(
    _ redis: RedisServer, _ arguments: [String]
  ) async throws -> (wall: Int64, processor: Int64, redis: Int64) {
    let redisBefore = try Machine.processTime(of: redis.pid!)
    let reader = try await ServiceProcess.start("read-store", ["\(redis.port)"] + arguments)
    guard try await reader.waitForExit(within: .seconds(120)) == .exited(0) else {
      throw CannotMeasure("the C reader failed\n\(reader.outputs)")
    }
    let figures = reader.standardOutput.text.split { $0 == " " || $0 == "\n" }.compactMap { Int64($0) }
    // A summary in each bucket, which one hash hasn't.
    let expected = 2 * (keys + (arguments.first == "buckets" ? StoreLayout.bucketCount : 0))
    guard figures.count == 3, figures[2] == expected || arguments.first == "hscan" && figures[2] >= expected else {
      throw CannotMeasure("expected \(expected) strings, but the C reader said: \(reader.standardOutput.text)")
    }
    return (figures[0], figures[1], try Machine.processTime(of: redis.pid!) - redisBefore)
  }
}
