// How long a mirror takes from nothing to the whole store, verified and ready to refuse; beside a C program that reads the same
// bytes with hiredis and throws them away, and one that reads the same records with HSCAN from one hash, as one would without
// buckets. Ours also hashes every record and compares count and digest of each bucket and of the whole.

import Foundation
import KeyStore
import RedisFixture

enum SyncBenchmark: Benchmark {
  static let name = "sync"
  static let summary = "a million keys from nothing to complete and verified, beside plain C reading the same bytes"

  static func run(rounds: Int) async throws -> Report {
    var store = try await MirroredStore.make(keys: 1_000_000, inOneHash: true)
    for _ in 0..<rounds { try await store.measure() }
    var report = Report(name: name, rounds: rounds)
    report.tables = [store.clocks, store.memory]
    report.goals = [
      Goal("clock, to C reading the same buckets", store.ours.wall, to: store.buckets.wall, atMost: 1.5),
      Goal("clock, to C's HSCAN of one hash", store.ours.wall, to: store.scan.wall, atMost: 0.6),
    ]
    try await store.remove()
    return report
  }
}

enum LargeSyncBenchmark: Benchmark {
  static let name = "sync-large"
  static let summary = "ten million keys beside a million: whether it grows in a line (takes some minutes and 4 GB)"
  static let rounds = 3

  static func run(rounds: Int) async throws -> Report {
    var million = try await MirroredStore.make(keys: 1_000_000, inOneHash: false)
    var tenMillion = try await MirroredStore.make(keys: 10_000_000, inOneHash: false)
    for _ in 0..<rounds {
      try await million.measure()
      try await tenMillion.measure()
    }
    var report = Report(name: name, rounds: rounds)
    report.tables = [million.clocks, tenMillion.clocks, million.memory, tenMillion.memory]
    report.goals = [
      Goal("clock a key, to a million", tenMillion.clockPerKey, to: million.clockPerKey, atMost: 1.15),
      // Redis itself needs half as much again for a key, whose hashes are in no cache then: this is the mirror's own part.
      Goal("processor a key, to a million", tenMillion.processorPerKey, to: million.processorPerKey, atMost: 1.15),
      Goal(
        "memory a key when it is complete, to a million", tenMillion.settledPerKey, to: million.settledPerKey,
        atMost: 1.05),
      Goal("clock, to C reading the same buckets", tenMillion.ours.wall, to: tenMillion.buckets.wall, atMost: 1.5),
    ]
    try await million.remove()
    try await tenMillion.remove()
    return report
  }
}

/// A store, and what reading it took.
private struct MirroredStore {
  /// What each round took, in milliseconds.
  struct Contender {
    var wall: [Double] = []
    var processor: [Double] = []
    var redis: [Double] = []
  }

  let keys: Int
  private let store: PublishedStore
  private(set) var ours = Contender()
  private(set) var buckets = Contender()
  /// Of one hash; empty where the records aren't in one.
  private(set) var scan = Contender()
  /// Bytes a key, of the mirror's process.
  private var peakPerKey: [Double] = []
  private(set) var settledPerKey: [Double] = []
  private let isInOneHash: Bool
  private static let hash = "one-hash"

  /// - Parameter isInOneHash: Whether the same records are to be in one hash besides.
  static func make(keys: Int, inOneHash isInOneHash: Bool) async throws -> MirroredStore {
    let store = try await PublishedStore.make(keys: keys)
    if isInOneHash { try gatherInOneHash(store.redis) }
    return MirroredStore(keys: keys, store: store, isInOneHash: isInOneHash)
  }

  private init(keys: Int, store: PublishedStore, isInOneHash: Bool) {
    self.keys = keys
    self.store = store
    self.isInOneHash = isInOneHash
  }

  func remove() async throws { try await store.remove() }

  /// One round.
  mutating func measure() async throws {
    let pid = store.redis.pid!
    let before = try Machine.processTime(of: pid)
    let mirror = try await MirrorProcess.measure(port: store.redis.port, keys: keys)
    ours.add(mirror.wall, mirror.processor, try Machine.processTime(of: pid) - before)
    peakPerKey.append(Double(mirror.peak) / Double(keys))
    settledPerKey.append(Double(mirror.settled) / Double(keys))
    try await peer(["buckets"], &buckets)
    if isInOneHash { try await peer(["hscan", Self.hash], &scan) }
  }

  private func peer(_ arguments: [String], _ contender: inout Contender) async throws {
    let pid = store.redis.pid!
    let before = try Machine.processTime(of: pid)
    let printed = try await Peers.run("read-store", ["\(store.redis.port)"] + arguments)
    let figures = printed.split { $0 == " " || $0 == "\n" }.compactMap { Int64($0) }
    // A summary in each bucket, which one hash hasn't. HSCAN may give a field twice.
    let expected = 2 * (keys + (arguments.first == "buckets" ? StoreLayout.bucketCount : 0))
    guard figures.count == 3, figures[2] == expected || arguments.first == "hscan" && figures[2] >= expected else {
      throw CannotMeasure("expected \(expected) strings, but the C reader said: \(printed)")
    }
    contender.add(figures[0], figures[1], try Machine.processTime(of: pid) - before)
  }

  var clockPerKey: [Double] { ours.wall.map { $0 / Double(keys) } }

  var processorPerKey: [Double] { ours.processor.map { $0 / Double(keys) } }

  var clocks: Report.Table {
    var table = Report.Table(
      "\(keys) keys, from nothing to everything", unit: "ms",
      notes: [
        "ours: connecting, reading, verifying each bucket and the whole, ready to refuse",
        "theirs: from the first command to the last reply, nothing done with it",
        "processor: of the reader's process; Redis's own time apart",
      ])
    table.add("Sluice's mirror", ours.columns)
    table.add("C and hiredis, the same buckets", buckets.columns)
    if isInOneHash { table.add("C and hiredis, HSCAN of one hash", scan.columns) }
    return table
  }

  var memory: Report.Table {
    var table = Report.Table(
      "memory of a mirror of \(keys) keys", unit: "bytes a key",
      notes: ["resident, beyond what its process had before; complete: at that moment, nothing given back on purpose"])
    table.add("Sluice's mirror", ("peak", Figure(peakPerKey)), ("complete", Figure(settledPerKey)))
    return table
  }

  /// The same records in one hash, without the buckets' summaries.
  private static func gatherInOneHash(_ redis: RedisServer) throws {
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
}

extension MirroredStore.Contender {
  /// All in nanoseconds.
  fileprivate mutating func add(_ wall: Int64, _ processor: Int64, _ redis: Int64) {
    self.wall.append(Double(wall) / 1e6)
    self.processor.append(Double(processor) / 1e6)
    self.redis.append(Double(redis) / 1e6)
  }

  fileprivate var columns: [(String, Figure)] {
    [("clock", Figure(wall)), ("processor", Figure(processor)), ("Redis's processor", Figure(redis))]
  }
}
